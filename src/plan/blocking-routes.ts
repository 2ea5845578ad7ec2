import { caddyUpstreams } from './caddy-upstreams.ts'
import { sameSite, sameUpstream } from './caddyfile.ts'
import type { RouteEdit } from './paths.ts'

/**
 * The Caddy routes that still dial a port map (`localhost:8288` stands as the fallback of the Funnel server, too): while
 * there is one, the port map must stay. `hosts` are other names and addresses of this machine, as far as they are known.
 *
 * `text` gives the line; `adapted` (Caddy's JSON, or what it runs) also knows what comes by import, snippet, port range
 * or environment, with line 0. A dial with a placeholder may lead anywhere, so it is reported as well.
 * `own` are the service's own routes as they stand until they are retired with it: those do not block.
 */
export function blockingRoutes({ text, adapted, port, hosts = [], own = [] }: Asked): BlockingRoute[] {
  const targets = ['localhost', ...hosts].map((host) => `${host}:${port}`)
  const blocks = (dial: string) => dial.includes('{') || targets.some((target) => sameUpstream(dial, target))
  return caddyUpstreams({ text, adapted })
    .filter(({ upstream }) => blocks(upstream))
    .filter(
      ({ sites, upstream }) =>
        !own.some(({ site, to }) => sites.some((each) => sameSite(each, site)) && sameUpstream(upstream, to)),
    )
    .map(({ site, upstream, line }) => ({ site, upstream, line }))
}

export type BlockingRoute = { site: string; upstream: string; line: number }
type Asked = {
  text: string
  adapted: unknown
  port: number
  hosts?: string[]
  own?: Array<Pick<RouteEdit, 'site' | 'to'>>
}
