import { isDeepStrictEqual } from 'node:util'
import {
  adaptedDials,
  type Difference,
  diffAdapted,
  hostAndPort,
  routesOf,
  sameUpstream,
} from './caddyfile.ts'
import { isBranch, type Json, list } from './json.ts'

/**
 * Caddy as the judge of a removal, by its JSON before and after: undefined if exactly these routes vanish, nothing new
 * appears and every other route stays as it was; else what is wrong. Caddy's own numbering (srv3, group7, cert0, log1)
 * does not count.
 *
 * `leaks` is set if another route would now answer for what was taken out.
 */
export function judgeRemoval(
  before: unknown,
  after: unknown,
  removals: Removal[],
): (Difference & { leaks?: true }) | undefined {
  const expected = unnumbered(before)
  const found = unnumbered(after)
  for (const { sites, upstream, whole } of removals) {
    const routes = routesOf(expected, sites)
    if (routes.length === 0) return { path: '(a site without effect)', before: sites.join(' '), after: null }
    // As from an environment variable that is read when Caddy runs: the text does not show it as an upstream.
    const other = sites
      .flatMap((site) => adaptedDials(before, site))
      .find((dial) => !sameUpstream(dial, upstream))
    if (whole && other !== undefined) return { path: '(another upstream)', before: other, after: null }
    for (const route of routes) {
      if (whole) route.handle = [gone]
      else takeOut(route, upstream)
    }
  }
  for (const { sites, whole } of removals) {
    const leak = whole
      ? neighbour(expected, sites)
      : routesOf(expected, sites)
          .map(successor)
          .find((each) => each !== undefined)
    if (leak !== undefined) return { path: leak, before: sites.join(' '), after: leak, leaks: true }
  }
  const [wanted, is] = [pruned(expected), pruned(found)]
  const [stray] = diffAdapted(serversOf(wanted), serversOf(is))
  if (stray) return stray
  const rest = beyond(withoutServers(is), withoutServers(wanted))
  return rest === undefined ? undefined : { path: rest, before: 'absent', after: 'there' }
}

export type Removal = { sites: string[]; upstream: string; whole: boolean }

const gone = { handler: '(gone)' }
const isGone = (value: unknown) => isBranch(value) && value.handler === gone.handler
/** Handlers that shape a request or a response, but do not answer. */
const plain = new Set([
  'headers',
  'encode',
  'rewrite',
  'vars',
  'map',
  'request_body',
  'authentication',
  'tracing',
])
const answers = (value: unknown): boolean => {
  if (!isBranch(value)) return false
  if (typeof value.handler === 'string' && value.handler !== 'subroute')
    return !plain.has(value.handler) && value.handler !== 'log_append' && !isGone(value)
  return Object.values(value).some((each) => (Array.isArray(each) ? each.some(answers) : false))
}

const isProxyTo = (handler: unknown, upstream: string) =>
  isBranch(handler) &&
  handler.handler === 'reverse_proxy' &&
  list(handler.upstreams).length > 0 &&
  handler.dynamic_upstreams === undefined &&
  list(handler.upstreams).every((each) => isBranch(each) && sameUpstream(String(each.dial), upstream))

/** Marks each reverse_proxy to this upstream as gone. */
function takeOut(value: unknown, upstream: string): void {
  if (!isBranch(value)) return
  if (Array.isArray(value.handle))
    value.handle = value.handle.map((each) => (isProxyTo(each, upstream) ? gone : each))
  for (const each of Object.values(value)) takeOut(each, upstream)
}

/**
 * What would answer in place of a handler that has gone: one behind it in the same route, or a later route of the same
 * list, unless both are of one group, of which only the first that fits is taken.
 */
function successor(route: unknown): string | undefined {
  if (!isBranch(route)) return undefined
  const handlers = list(route.handle)
  const at = handlers.findIndex(isGone)
  const behind = at === -1 ? undefined : handlers.slice(at + 1).find(answers)
  if (behind) return shown(behind)
  for (const handler of handlers) {
    const routes = isBranch(handler) ? list(handler.routes).filter(isBranch) : []
    for (const [index, each] of routes.entries()) {
      const inner = successor(each)
      if (inner !== undefined) return inner
      const apart = (next: Json) => each.group === undefined || each.group !== next.group
      const later = hasGone(each)
        ? routes.slice(index + 1).find((next) => answers(next) && apart(next))
        : undefined
      if (later) return shown(later)
    }
  }
  return undefined
}

const hasGone = (value: unknown): boolean =>
  isGone(value) || (isBranch(value) && Object.values(value).some(hasGone))

/** Another site of the same server whose address also fits, as a wildcard or without a name. */
function neighbour(config: unknown, sites: string[]): string | undefined {
  const own = new Set(routesOf(config, sites))
  const found = sites.flatMap((site) => {
    const { host, port } = hostAndPort(site)
    const wider = ['', host.replace(/^[^.]+/, '*'), '*'].filter((each) => each !== host)
    return routesOf(
      config,
      wider.map((each) => `https://${each}:${port}`),
    )
  })
  const other = found.find((route) => !own.has(route) && answers(route))
  return other && shown(other)
}

const shown = (value: unknown) => JSON.stringify(value).slice(0, 120)

/** Servers by their listeners. Only routes must be equal; the rest of a server is settled by `beyond`. */
function serversOf(config: unknown): Json {
  const servers = Object.values(isBranch(config) ? (dig(config, 'apps', 'http', 'servers') as Json) : {})
  return Object.fromEntries(
    servers.filter(isBranch).flatMap((server) => {
      const { listen, routes = [], errors = {} } = server
      return list(routes).length > 0 ? [[list(listen).map(String).join(' '), { routes, errors }]] : []
    }),
  )
}

/** What is left when the routes are settled: names of sites in lists of TLS, logs and redirects, which may only get fewer. */
function withoutServers(config: unknown): unknown {
  const copy = structuredClone(config)
  const servers = dig(copy, 'apps', 'http', 'servers') as Json
  const http = dig(copy, 'apps', 'http') as Json
  http.servers = Object.values(servers).map((server) => {
    if (!isBranch(server)) return server
    const { routes: _, errors: __, ...rest } = server
    return rest
  })
  return copy
}

/** The first path at which `part` has what `all` has not; array elements may stand anywhere. */
function beyond(part: unknown, all: unknown, path = ''): string | undefined {
  if (!isBranch(part)) return isDeepStrictEqual(part, all) ? undefined : path || '/'
  if (!isBranch(all)) return path || '/'
  if (Array.isArray(part)) {
    const stray = part.findIndex((each) => !list(all).some((other) => beyond(each, other) === undefined))
    return stray === -1 ? undefined : `${path}/${stray}`
  }
  return Object.entries(part)
    .map(([key, value]) => beyond(value, all[key], `${path}/${key}`))
    .find((each) => each !== undefined)
}

/**
 * Without what stands empty once a route has gone: handlers, subroutes, routes and lists. Caddy makes one route of
 * neighbours with the same matchers, so each route is taken apart into its handlers.
 */
function pruned(value: unknown): unknown {
  if (Array.isArray(value))
    return value
      .map(pruned)
      .filter((each) => !isGone(each) && !isEmptyRoute(each))
      .flatMap(handlersApart)
  if (!isBranch(value)) return value
  const kept = Object.entries(value)
    .map(([key, each]) => [key, pruned(each)] as const)
    .filter(
      ([, each]) =>
        !(Array.isArray(each) && each.length === 0) && !(isBranch(each) && Object.keys(each).length === 0),
    )
  return Object.fromEntries(kept)
}

const handlersApart = (route: unknown): unknown[] =>
  isBranch(route) && Array.isArray(route.handle)
    ? route.handle.map((each) => ({ ...route, handle: [each] }))
    : [route]

/** A subroute without routes, or a route without handlers, does nothing. */
const isEmptyRoute = (value: unknown) =>
  isBranch(value) &&
  (Object.keys(value).length === 0 ||
    (value.handler === 'subroute' && value.routes === undefined) ||
    ((value.match !== undefined || value.terminal !== undefined || value.group !== undefined) &&
      value.handle === undefined &&
      value.handler === undefined))

/** Caddy numbers groups, certificates and logs anew at each load. */
function unnumbered(config: unknown): unknown {
  const text = JSON.stringify(config ?? null, (key, value: unknown) =>
    // Several logs would be one without their numbers.
    key === 'logs' && isBranch(value) ? Object.entries(value).map(([name, log]) => ({ name, log })) : value,
  )
  return JSON.parse(text.replace(/"(http\.log\.access\.)?(cert|log)\d+"/g, '"$1$2"'), (_, value: unknown) =>
    isBranch(value) && Array.isArray(value.routes) ? regrouped(value) : value,
  )
}

/** A group counts within its own list of routes. */
function regrouped(holder: Json): Json {
  const grouped = list(holder.routes).filter(
    (each): each is Json => isBranch(each) && each.group !== undefined,
  )
  const groups = [...new Set(grouped.map(({ group }) => group))]
  for (const each of grouped) each.group = groups.indexOf(each.group)
  return holder
}

function dig(value: unknown, ...keys: string[]): unknown {
  return keys.reduce<unknown>((node, key) => (isBranch(node) && isBranch(node[key]) ? node[key] : {}), value)
}
