import { OnehopError } from '../src/errors.ts'
import { tokenize } from '../src/plan/caddyfile-lexer.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** The admin API of a Caddy that runs `config`: its HTTP calls, as src/systems/caddy-admin.ts makes them. */
export function createMemoryCaddy(loaded: (before: unknown, after: unknown) => void) {
  let config: unknown = null
  let text = 'null'
  return {
    config: () => config,
    /** Caddy starts with a file, as after a power cut. */
    start(adapted: unknown) {
      config = adapted
      text = JSON.stringify(adapted)
    },
    call:
      (effect: Conditions['effect'], by: Process) =>
      (_admin: string, method: string, path: string, body?: string) =>
        effect(
          by,
          {
            system: 'caddy',
            what: `${method} ${path}`,
            writes: method === 'POST',
            lost: () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }),
            patience: 30,
            // It waits in a socket on the same machine, and the file's lock outlives its writer by more than that.
            onTheWay: method === 'POST' ? 4 : 1,
          },
          () => {
            if (method === 'GET') return { status: 200, body: `${text}\n` }
            const before = config
            text = body ?? 'null'
            config = JSON.parse(text)
            loaded(before, config)
            return { status: 200, body: '' }
          },
        ),
  }
}

/** `caddy adapt` for simple files: global options, and sites of `reverse_proxy`, `respond` and `handle` blocks. */
export function adaptCaddyfile(text: string): unknown {
  const cached = adapted.get(text)
  if (cached) return cached
  const tokens = tokenize(text)
  let at = 0
  const refuse = (message: string): never => {
    throw new OnehopError('caddy-edit-refused', { file: 'Caddyfile', message })
  }
  const isBrace = (brace: string) => tokens[at]?.text === brace && !tokens[at]?.quoted

  /** The routes between here and the closing brace. */
  function routes(): unknown[] {
    const found: unknown[] = []
    while (!isBrace('}')) {
      const directive = tokens[at++] ?? refuse('unexpected end of file')
      const words: string[] = []
      while (tokens[at] && !tokens[at]?.opensLine && !isBrace('{')) words.push(tokens[at++]?.text ?? '')
      let inner: unknown[] = []
      if (isBrace('{')) {
        at++
        inner = routes()
        at++
      }
      const upstreams = words
        .filter((word) => !/^[*/@]/.test(word))
        .map((word) => ({ dial: word.replace(/^http:\/\//, '') }))
      if (directive.text === 'reverse_proxy') {
        if (upstreams.length === 0) refuse('reverse_proxy needs an upstream')
        found.push({ handle: [{ handler: 'reverse_proxy', upstreams }] })
      } else if (directive.text === 'respond')
        found.push({ handle: [{ body: words[0] ?? '', handler: 'static_response' }] })
      else if (directive.text === 'handle') found.push({ handle: [{ handler: 'subroute', routes: inner }] })
      else refuse(`unrecognized directive: ${directive.text}`)
    }
    return found
  }

  const servers: Record<string, { listen: string[]; routes: unknown[] }> = {}
  while (at < tokens.length) {
    const sites: string[] = []
    while (tokens[at] && !isBrace('{')) sites.push((tokens[at++]?.text ?? '').replace(/,$/, ''))
    if (!tokens[at]) refuse(`'{' expected after ${sites.join(' ')}`)
    at++
    if (sites.length === 0) {
      // Global options change nothing here.
      while (tokens[at] && !isBrace('}')) at++
      at++
      continue
    }
    const inner = routes()
    at++
    for (const site of sites) {
      const [, host = '', port = '80'] = /^(?:https?:\/\/)?([^:/]*)(?::(\d+))?/.exec(site) ?? []
      servers[port] ??= { listen: [`:${port}`], routes: [] }
      const server = servers[port]
      server.routes.push({
        match: [{ host: [host] }],
        handle: [{ handler: 'subroute', routes: inner }],
        terminal: true,
      })
    }
  }
  const ports = Object.keys(servers)
  const config = structuredClone({
    apps: {
      http: { servers: Object.fromEntries(ports.map((port, index) => [`srv${index}`, servers[port]])) },
    },
  })
  if (adapted.size > 200) adapted.clear()
  adapted.set(text, config)
  return config
}

const adapted = new Map<string, unknown>()
