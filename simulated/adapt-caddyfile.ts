import { OnehopError } from '../src/errors.ts'
import { type Token, tokenize } from '../src/plan/caddyfile-lexer.ts'

/**
 * `caddy adapt` for what examples/panda uses, with the JSON that Caddy 2.11 makes of it: the global options `admin`,
 * `auto_https off` and `log`; snippets and `import`; sites with `tls CERT KEY`, `log`, `reverse_proxy`, `respond` and
 * `handle`. Everything else is refused, so that no simulated answer can differ from the real one unseen.
 *
 * @param env the environment of `{$NAME}`
 * @throws OnehopError caddy-edit-refused
 */
export function adaptCaddyfile(text: string, env: Env = process.env): unknown {
  const replaced = text.replace(
    /\{\$(\w+)(?::([^}]*))?\}/g,
    (_, name, fallback = '') => env[name] ?? fallback,
  )
  const cached = adapted.get(replaced)
  if (cached) return cached
  const config = structuredClone(configOf(parse(replaced)))
  if (adapted.size > 200) adapted.clear()
  adapted.set(replaced, config)
  return config
}

/** The simulator adapts the same few files thousands of times. */
const adapted = new Map<string, unknown>()
type Env = Record<string, string | undefined>

/** One directive with its block, if it has one. */
type Directive = { name: string; words: string[]; block?: Directive[] }
type Site = { addresses: Address[]; directives: Directive[] }
type Address = { scheme: string; host: string; port: string }
type File = { options: Directive[]; sites: Site[] }

const refuse = (message: string): never => {
  throw new OnehopError('caddy-edit-refused', { file: 'Caddyfile', message })
}

function parse(text: string): File {
  const tokens = tokenize(text)
  const snippets = new Map<string, Directive[]>()
  const file: File = { options: [], sites: [] }
  let at = 0
  const isBrace = (brace: string, token: Token | undefined = tokens[at]) =>
    token?.text === brace && !token.quoted

  function block(): Directive[] {
    const found: Directive[] = []
    at++
    while (!isBrace('}')) {
      const { text: name } = tokens[at++] ?? refuse('unexpected end of file')
      const words: string[] = []
      while (tokens[at] && !tokens[at]?.opensLine && !isBrace('{')) words.push(tokens[at++]?.text ?? '')
      const directive = { name, words, ...(isBrace('{') && { block: block() }) }
      if (name !== 'import') found.push(directive)
      else found.push(...(snippets.get(words[0] ?? '') ?? refuse(`File to import not found: ${words[0]}`)))
    }
    at++
    return found
  }

  while (at < tokens.length) {
    const keys: string[] = []
    while (tokens[at] && !isBrace('{')) keys.push((tokens[at++]?.text ?? '').replace(/,$/, ''))
    if (!tokens[at]) refuse(`'{' expected after ${keys.join(' ')}`)
    const snippet = /^\((.+)\)$/.exec(keys[0] ?? '')?.[1]
    if (snippet !== undefined) snippets.set(snippet, block())
    else if (keys.length === 0) file.options = block()
    else file.sites.push({ addresses: keys.map(addressOf), directives: block() })
  }
  return file
}

function addressOf(key: string): Address {
  const [, scheme = '', host = '', port] = /^(?:(https?):\/\/)?([^:/]*)(?::(\d+))?$/.exec(key) ?? refuse(key)
  return { scheme, host, port: port ?? (scheme === 'http' ? '80' : '443') }
}

function configOf({ options, sites }: File): unknown {
  const globals = globalsOf(options)
  const certificates: Array<{ certificate: string; key: string; tags: string[] }> = []
  // Caddy numbers its groups in this order: each nested block as it is parsed, then the sites as their servers are made.
  const counter = { groups: 0 }
  const parsed = sites.map((site) => ({ ...site, routes: routesOf(site.directives, counter) }))
  const servers = new Map<string, Server>()
  const addresses = parsed
    .flatMap((site) => site.addresses.map((address) => ({ ...site, address })))
    .sort((a, b) => compare(`:${a.address.port}`, `:${b.address.port}`))
  for (const { address, directives, routes } of addresses) {
    const { scheme, host, port } = address
    const server = servers.get(port) ?? { listen: [`:${port}`], routes: [] }
    servers.set(port, server)
    server.routes.push({
      match: [{ host: [host] }],
      handle: [{ handler: 'subroute', routes: grouped(routes, counter) }],
      terminal: true,
    })
    const tls = directives.find((each) => each.name === 'tls')
    if (tls) addPolicy(server, host, tagOf(certificates, tls.words))
    else if (scheme !== 'http') refuse(`${host}:${port}: only http:// and tls CERT KEY are simulated`)
    if (globals.autoHttpsOff) server.automatic_https = { ...server.automatic_https, disable: true }
    if (scheme === 'http' && port !== '80')
      server.automatic_https = {
        ...server.automatic_https,
        skip: [...new Set([...(server.automatic_https?.skip ?? []), host])],
      }
    if (directives.some(isLog)) server.logs = { logger_names: { ...server.logs?.logger_names, [host]: [''] } }
  }
  for (const [port, server] of servers) {
    server.tls_connection_policies?.push({})
    const unlogged = addresses
      .filter(({ address, directives }) => address.port === port && !directives.some(isLog))
      .map(({ address }) => `${address.host}:${port}`)
    if (server.logs && unlogged.length > 0) server.logs.skip_hosts = unlogged
  }
  return {
    ...globals.config,
    apps: {
      http: {
        servers: Object.fromEntries([...servers.values()].map((server, index) => [`srv${index}`, server])),
      },
      ...(certificates.length > 0 && { tls: { certificates: { load_files: certificates } } }),
    },
  }
}

function globalsOf(options: Directive[]) {
  let autoHttpsOff = false
  const config: Record<string, unknown> = {}
  for (const { name, words, block = [] } of options) {
    if (name === 'admin') config.admin = { listen: words[0] }
    else if (name === 'auto_https' && words[0] === 'off') autoHttpsOff = true
    else if (name === 'log') {
      const [output] = block
      config.logging = { logs: { default: { writer: { output: output?.words[0] } } } }
    } else refuse(`unrecognized global option: ${name}`)
  }
  return { config, autoHttpsOff }
}

function addPolicy(server: Server, host: string, tag: string): void {
  server.tls_connection_policies ??= []
  server.tls_connection_policies.push({
    match: { sni: [host] },
    certificate_selection: { any_tag: [tag] },
  })
}

/** A pair of files is loaded once, however many sites name it. */
function tagOf(
  certificates: Array<{ certificate: string; key: string; tags: string[] }>,
  [certificate = '', key = '']: string[],
): string {
  const known = certificates.find((each) => each.certificate === certificate && each.key === key)
  const [tag = `cert${certificates.length}`] = known?.tags ?? []
  if (!known) certificates.push({ certificate, key, tags: [tag] })
  return tag
}

function routesOf(directives: Directive[], counter: Counter): ParsedRoute[] {
  return directives.flatMap(({ name, words, block = [] }): ParsedRoute[] => {
    if (name === 'tls' || name === 'log') return []
    const [path, ...others] = words.filter((word) => word.startsWith('/'))
    if (others.length > 0 || words.some((word) => /^[@*]/.test(word)))
      refuse(`${name} ${words.join(' ')}: only one path is simulated as a matcher`)
    const match = path === undefined ? {} : { match: [{ path: [path] }] }
    const values = words.filter((word) => !word.startsWith('/'))
    switch (name) {
      case 'reverse_proxy': {
        if (values.length === 0) refuse('reverse_proxy needs an upstream')
        const upstreams = values.map((word) => ({ dial: word.replace(/^http:\/\//, '') }))
        const handler = { ...proxyOptions(block), handler: 'reverse_proxy', upstreams }
        return [{ name, ...match, handle: [handler] }]
      }
      case 'respond': {
        const [body = '', status] = values
        const handler = { body, handler: 'static_response', ...(status && { status_code: Number(status) }) }
        return [{ name, ...match, handle: [handler] }]
      }
      case 'handle': {
        const routes = grouped(routesOf(block, counter), counter)
        return [{ name, ...match, handle: [{ handler: 'subroute', routes }] }]
      }
      default:
        return refuse(`unrecognized directive: ${name}`)
    }
  })
}

function proxyOptions(block: Directive[]): Record<string, unknown> {
  return Object.fromEntries(
    block.map(({ name, words }) => {
      if (name !== 'flush_interval') return refuse(`unrecognized subdirective ${name}`)
      return [name, Number(words[0])]
    }),
  )
}

/** Sorted as Caddy sorts directives; several `handle` blocks exclude each other by a group. */
function grouped(routes: ParsedRoute[], counter: Counter): Route[] {
  const handles = routes.filter(({ name }) => name === 'handle')
  const group = handles.length > 1 ? `group${counter.groups++}` : undefined
  // Caddy reserves one group for `rewrite` in every block, used or not.
  counter.groups++
  return routes
    .toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name) || specificity(b) - specificity(a))
    .map(({ name, ...route }) => (name === 'handle' && group !== undefined ? { group, ...route } : route))
}

const isLog = ({ name }: Directive) => name === 'log'

const order = ['handle', 'respond', 'reverse_proxy']
/** The longer path goes first, and no path last. */
const specificity = ({ match }: ParsedRoute) => match?.[0]?.path[0]?.replace(/\*$/, '').length ?? 0
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

type Counter = { groups: number }
type Route = { group?: string; match?: Array<{ path: string[] }>; handle: unknown[] }
type ParsedRoute = Route & { name: string }
type Server = {
  listen: string[]
  routes: unknown[]
  tls_connection_policies?: unknown[]
  automatic_https?: { disable?: true; skip?: string[] }
  logs?: { logger_names: Record<string, string[]>; skip_hosts?: string[] }
}
