import { caddyUpstreams } from './caddy-upstreams.ts'
import { sameUpstream } from './caddyfile.ts'

/**
 * The Caddy routes that still dial a port map (`localhost:8288` stands as the fallback of the Funnel server, too): while
 * there is one, the port map must stay. `hosts` are other names and addresses of this machine, as far as they are known.
 *
 * `text` gives the line; `adapted` (Caddy's JSON, or what it runs) also knows what comes by import, snippet, port range
 * or environment, with line 0. A dial with a placeholder may lead anywhere, so it is reported as well.
 */
export function blockingRoutes({ text, adapted, port, hosts = [] }: Asked): BlockingRoute[] {
  const targets = ['localhost', ...hosts].map((host) => `${host}:${port}`)
  const blocks = (dial: string) => dial.includes('{') || targets.some((target) => sameUpstream(dial, target))
  return caddyUpstreams({ text, adapted })
    .filter(({ upstream }) => blocks(upstream))
    .map(({ site, upstream, line }) => ({ site, upstream, line }))
}

export type BlockingRoute = { site: string; upstream: string; line: number }
type Asked = { text: string; adapted: unknown; port: number; hosts?: string[] }
