import { caddyUpstreams } from './caddy-upstreams.ts'
import { canonicalUpstream, sameSite, sameUpstream } from './caddyfile.ts'
import type { RouteEdit } from './paths.ts'

/**
 * The Caddy routes that still dial a port map (`localhost:8288` stands as the fallback of the Funnel server, too): while
 * there is one, the port map must stay. `hosts` are other names and addresses of this machine, as far as they are known.
 * A node has addresses too, which are not known: a dial to one of `nodePorts` blocks at any host but those of the tailnet.
 *
 * `text` gives the line; `adapted` (Caddy's JSON, or what it runs) also knows what comes by import, snippet, port range
 * or environment, with line 0. A dial with a placeholder may lead anywhere, so it is reported as well.
 * `own` are the service's own routes as they stand until they are retired with it: those do not block.
 */
export function blockingRoutes({
  text,
  adapted,
  port,
  hosts = [],
  own = [],
  nodePorts = [],
  isDevice = () => false,
}: Asked): BlockingRoute[] {
  const targets = ['localhost', ...hosts].map((host) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const isNodePort = (dial: string) => {
    const [, host = '', dialled] = /^(.*):(\d+)$/.exec(canonicalUpstream(dial)) ?? []
    return nodePorts.includes(Number(dialled)) && !isDevice(host)
  }
  const blocks = (dial: string) =>
    dial.includes('{') || targets.some((target) => sameUpstream(dial, target)) || isNodePort(dial)
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
  nodePorts?: number[]
  /** Whether a host is a device of the tailnet, and so no node. */
  isDevice?: (host: string) => boolean
}
