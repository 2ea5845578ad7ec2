import { isDeepStrictEqual } from 'node:util'
import { type Token, tokenize } from './caddyfile-lexer.ts'
import { dig, isBranch, type Json, list } from './json.ts'
import { groupBy } from './remember.ts'

/** An edit of one route: in the block of `site`, `from` becomes `to` (both host:port, without a scheme). */
export type Route = { site: string; from: string; to: string }

/** One upstream of a `reverse_proxy`: text.slice(start, end) is `upstream`, its host:port as written. `line` counts from 1. */
export type Upstream = {
  site: string
  sites: string[]
  upstream: string
  start: number
  end: number
  line: number
}

/**
 * Every upstream that stands in a site's own block, in order: arguments of `reverse_proxy` and of `to` within it, at any
 * depth. `http://` and `h2c://` stay outside the range; `https://` upstreams are left out, for they need another transport.
 * What comes by `import`, a snippet, a named route or an environment variable does not stand in the block.
 *
 * `site` in the answer is the address asked for, or the block's first; `sites` are all addresses of that block.
 */
export const findUpstreams = (text: string, asked: AskedUpstream = {}): Upstream[] =>
  readUpstreams(text)(asked)

/** `findUpstreams` of a text that is read once, however often it is asked. */
export function readUpstreams(text: string): (asked: AskedUpstream) => Upstream[] {
  const blocks = siteBlocks(tokenize(text)).map(({ sites, body }) => ({
    sites,
    upstreams: [...upstreamTokens(text, body)].map((range) => ({
      ...range,
      sites,
      upstream: text.slice(range.start, range.end),
    })),
  }))
  const bySite = groupBy(
    blocks.flatMap((block) => [...new Set(block.sites.map(siteKey))].map((key) => ({ key, block }))),
    ({ key }) => key,
  )
  return ({ site, upstream }) => {
    const asked = site === undefined ? blocks : (bySite.get(siteKey(site)) ?? []).map(({ block }) => block)
    return asked.flatMap(({ sites, upstreams }) => {
      const name = site === undefined ? sites[0] : sites.find((each) => sameSite(each, site))
      if (name === undefined) return []
      return upstreams.flatMap((each) =>
        upstream === undefined || sameUpstream(each.upstream, upstream) ? [{ site: name, ...each }] : [],
      )
    })
  }
}

type AskedUpstream = { site?: string | undefined; upstream?: string | undefined }

/** The text with each range replaced by `to`; every other character stays. */
export function replaceUpstreams(
  text: string,
  edits: Array<{ start: number; end: number; to: string }>,
): string {
  const backwards = edits.toSorted((a, b) => b.start - a.start)
  return backwards.reduce((rest, { start, end, to }) => rest.slice(0, start) + to + rest.slice(end), text)
}

/** Whether two upstreams are one: any spelling of this machine counts as the same, and case does not matter. */
export const sameUpstream = (a: string, b: string) => canonicalUpstream(a) === canonicalUpstream(b)

/** Whether two site addresses are one: a missing port is that of the scheme, and a missing scheme is https. */
export const sameSite = (a: string, b: string) => siteKey(a) === siteKey(b)

const siteKey = (site: string) => {
  const { host, port } = hostAndPort(site)
  return `${host} ${port}`
}

/** All dial addresses that a site reaches in Caddy's own JSON. Servers are found by their listener: srv0, srv1 ... are renumbered. */
export function adaptedDials(config: unknown, site?: string): string[] {
  const within = site === undefined ? [config] : routesOf(config, [site])
  return within.flatMap((route) => dialsWithin(route).map(({ dial }) => dial))
}

/** A copy of a running config in which those sites reach `to` where they reached `from`. */
export function replaceDials(
  config: unknown,
  edits: Array<{ sites: string[]; from: string; to: string }>,
): unknown {
  const copy = structuredClone(config)
  // All are found before any is changed, so that two routes that swap places do not meet.
  const changes = edits.flatMap(({ sites, from, to }) =>
    routesOf(copy, sites)
      .flatMap(dialsWithin)
      .filter(({ dial }) => sameUpstream(dial, from))
      .map(({ owner }) => ({ owner, to })),
  )
  for (const { owner, to } of changes) owner.dial = to
  return copy
}

export type Difference = { path: string; before: unknown; after: unknown }

/** Every leaf in which two JSON values differ, by its JSON pointer. */
export function diffAdapted(before: unknown, after: unknown, path = ''): Difference[] {
  // Mostly nothing differs, and then no path has to be made of every leaf.
  if (isDeepStrictEqual(before, after)) return []
  if (!isBranch(before) || !isBranch(after) || Array.isArray(before) !== Array.isArray(after))
    return [{ path, before, after }]
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].flatMap((key) =>
    diffAdapted(before[key], after[key], `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`),
  )
}

/**
 * Caddy as the judge: the first difference that the edit was not meant to make, or `undefined` if there is none.
 * One token may become several dials (a block with several listeners), but never none.
 */
export function judgeEdit(
  before: unknown,
  after: unknown,
  edits: Array<{ upstream: string; to: string }>,
): Difference | undefined {
  const differences = diffAdapted(before, after)
  const isMeant = (each: Difference, { upstream, to }: { upstream: string; to: string }) =>
    typeof each.before === 'string' &&
    typeof each.after === 'string' &&
    sameUpstream(each.before, upstream) &&
    sameUpstream(each.after, to)
  const stray = differences.find(
    (each) => !/\/upstreams\/\d+\/dial$/.test(each.path) || !edits.some((edit) => isMeant(each, edit)),
  )
  if (stray) return stray
  const idle = edits.find((edit) => {
    const alike = edits.filter(
      (other) => sameUpstream(other.upstream, edit.upstream) && sameUpstream(other.to, edit.to),
    )
    return differences.filter((each) => isMeant(each, edit)).length < alike.length
  })
  return idle && { path: '(a token without effect)', before: idle.upstream, after: idle.upstream }
}

export const isBrace = (token: Token | undefined, brace: '{' | '}') => token?.text === brace && !token.quoted

/** Where a site is that does not have the upstream looked for, for an error: the line of its block, or why there is none. */
export function whereabouts(text: string, site: string | undefined): string {
  const blocks = siteBlocks(tokenize(text))
  const lineOf = (block: SiteBlock | undefined) => block?.whole[0]?.line
  const own = lineOf(
    blocks.find(({ sites }) => site !== undefined && sites.some((each) => sameSite(each, site))),
  )
  if (own !== undefined) return `line ${own}`
  const open = blocks.find(({ sites }) => sites.some((each) => each.includes('{')))
  const line = lineOf(open)
  if (open === undefined || line === undefined) return 'no block has that address'
  const [placeholder = ''] = /\{[^}]*\}?/.exec(open.sites.join(' ')) ?? []
  return `line ${line} has an address with the placeholder ${placeholder}`
}

/** The line of a block that has this address, where one of the block's addresses holds a variable of the environment. */
export function variableAddressLine(text: string, site: string): number | undefined {
  const block = siteBlocks(tokenize(text)).find(
    ({ sites }) => sites.some((each) => sameSite(each, site)) && sites.some(hasVariable),
  )
  return block?.whole[0]?.line
}

/** Whether an address takes a part from the environment (`{$NAME}`): Caddy's JSON has another one then. */
export const hasVariable = (address: string) => address.includes('{$')

/** The paths and patterns that a Caddyfile imports, as written; its own snippets are none. */
export function importPatterns(text: string): string[] {
  const tokens = tokenize(text)
  return tokens.flatMap((token, index) => {
    const [before, named] = [tokens[index - 1], tokens[index + 1]]
    const isDirective =
      token.text === 'import' && (token.opensLine || isBrace(before, '{') || isBrace(before, '}'))
    if (!isDirective || !named || named.opensLine) return []
    return tokens.some(({ text: each }) => each === `(${named.text})`) ? [] : [named.text]
  })
}

/** What the file servers of a config hide: paths, and among them the names of the Caddyfiles that they come from. */
export function hiddenFiles(config: unknown): string[] {
  if (!isBranch(config)) return []
  const own =
    config.handler === 'file_server' ? list(config.hide).filter((each) => typeof each === 'string') : []
  return [...own, ...Object.values(config).flatMap(hiddenFiles)]
}

/** What a file server hides instead of the file's own name when Caddy has adapted a text that is in no file. */
export const namelessFile = './-'

/**
 * A copy of a config whose file servers hide `to` in place of these names, or none of them: so that two readings of one text
 * under two names are equal.
 */
export function renameHidden(config: unknown, names: string[], to?: string): unknown {
  if (Array.isArray(config)) return config.map((each) => renameHidden(each, names, to))
  if (!isBranch(config)) return config
  const kept = Object.entries(config).flatMap(([key, value]) => {
    if (key !== 'hide' || config.handler !== 'file_server') return [[key, renameHidden(value, names, to)]]
    const hidden = list(value).flatMap((each) => (names.includes(String(each)) ? (to ?? []) : [each]))
    return hidden.length > 0 ? [[key, [...new Set(hidden)]]] : []
  })
  return Object.fromEntries(kept)
}

/** A site block: its addresses as written, the tokens between the braces (or up to the end, without braces), and all of them. */
export type SiteBlock = { sites: string[]; body: Token[]; whole: Token[] }

/** The site blocks of a Caddyfile, in order; global options, snippets and named routes are none. */
export function siteBlocks(tokens: Token[]): SiteBlock[] {
  const blocks: SiteBlock[] = []
  let at = 0
  while (at < tokens.length) {
    const from = at
    while (at < tokens.length && !isBrace(tokens[at], '{')) {
      const endsLine = tokens[at + 1]?.opensLine !== false && !tokens[at]?.text.endsWith(',')
      at++
      if (endsLine) break
    }
    const keys = tokens.slice(from, at)
    const braced = isBrace(tokens[at], '{')
    // An import at the top stands for whole blocks; with braces, these hold its arguments.
    const isImport = keys[0]?.text === 'import'
    if (isImport && !braced) continue
    const open = at
    at = braced ? closing(tokens, open) : tokens.length
    const sites = keys.map((key) => key.text.replace(/,$/, '')).filter((key) => key !== '')
    // No key: the global options. In parentheses: a snippet or a named route, which belong to no site.
    if (sites[0] !== undefined && !isImport && !/^&?\(/.test(sites[0]))
      blocks.push({
        sites,
        body: tokens.slice(braced ? open + 1 : open, at),
        whole: tokens.slice(from, at + 1),
      })
    at++
  }
  return blocks
}

function closing(tokens: Token[], open: number): number {
  let depth = 0
  for (let at = open; at < tokens.length; at++) {
    if (isBrace(tokens[at], '{')) depth++
    if (isBrace(tokens[at], '}') && --depth === 0) return at
  }
  return tokens.length
}

function* upstreamTokens(text: string, body: Token[]) {
  const parents: string[] = []
  let directive: Token[] = []
  for (const [index, token] of body.entries()) {
    const before = body[index - 1]
    if (isBrace(token, '}')) parents.pop()
    if (token.opensLine || isBrace(before, '{') || isBrace(before, '}')) directive = []
    directive.push(token)
    const name = directive[0]?.text ?? ''
    if (isBrace(token, '{')) parents.push(name)
    else if (
      directive.length > 1 &&
      (name === 'reverse_proxy' || (name === 'to' && parents.at(-1) === 'reverse_proxy'))
    ) {
      const range = hostPortRange(text, token)
      if (range && !(directive.length === 2 && /^[*/@]/.test(token.text)))
        yield { ...range, line: token.line }
    }
  }
}

/** Where the host:port of an upstream stands, without quotes and scheme; `undefined` for https:// and for anything escaped. */
function hostPortRange(text: string, token: Token) {
  const prefix = /^(http|h2c):\/\//.exec(token.text)?.[0] ?? ''
  const start = token.start + (token.quoted ? 1 : 0) + prefix.length
  const upstream = token.text.slice(prefix.length)
  const end = start + upstream.length
  return text.slice(start, end) === upstream && /^[^\s/{}]*:\d+$/.test(upstream) ? { start, end } : undefined
}

export const canonicalUpstream = (upstream: string) =>
  upstream
    .toLowerCase()
    .replace(/^(http|h2c):\/\//, '')
    .replace(/^(127\.0\.0\.1|\[::1\]|)(?=:\d+$)/, 'localhost')

export function hostAndPort(site: string): { host: string; port: string } {
  const [, scheme = 'https', rest = ''] = /^(?:(https?):\/\/)?(.*?)\/*$/.exec(site.toLowerCase()) ?? []
  const [, host = rest, port = scheme === 'http' ? '80' : '443'] = /^(.*?):(\d+)$/.exec(rest) ?? []
  return { host, port }
}

/** The routes of Caddy's JSON, ordinary and for errors, that answer for one of these sites. */
export function routesOf(config: unknown, sites: string[]): Json[] {
  const wanted = sites.map(hostAndPort)
  return Object.values(dig(config, 'apps', 'http', 'servers')).flatMap((server) => {
    const ports = list(dig(server, 'listen')).map((listen) => /:(\d+)$/.exec(String(listen))?.[1])
    const hosts = wanted.filter(({ port }) => ports.includes(port)).map(({ host }) => host)
    return [...list(dig(server, 'routes')), ...list(dig(server, 'errors', 'routes'))]
      .filter(isBranch)
      .filter((route) => {
        const matched = list(dig(route, 'match')).flatMap((match) => list(dig(match, 'host')).map(String))
        return hosts.some((host) => (matched.length === 0 ? host === '' : matched.includes(host)))
      })
  })
}

function dialsWithin(value: unknown): Array<{ owner: Json; dial: string }> {
  if (!isBranch(value)) return []
  const own = list(dig(value, 'upstreams')).flatMap((owner) =>
    isBranch(owner) && typeof owner.dial === 'string' ? [{ owner, dial: owner.dial }] : [],
  )
  return [...own, ...Object.values(value).flatMap(dialsWithin)]
}
