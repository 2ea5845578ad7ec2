import { canonicalUpstream, findUpstreams, sameSite } from './caddyfile.ts'
import { dig, list } from './json.ts'
import { groupBy } from './remember.ts'

/**
 * Every upstream that Caddy dials, with the addresses that lead to it. `text` gives those that stand in a site's own block,
 * with their line; `adapted` (Caddy's JSON, or what it runs) also knows what comes by import, snippet, port range or
 * environment, with line 0.
 */
export function caddyUpstreams({ text, adapted }: { text: string; adapted: unknown }): CaddyUpstream[] {
  const written = findUpstreams(text).map(({ site, sites, upstream, line }) => ({
    site,
    sites,
    upstream,
    line,
  }))
  const writtenTo = groupBy(written, (each) => canonicalUpstream(each.upstream))
  const isWritten = (site: string, dial: string) =>
    (writtenTo.get(canonicalUpstream(dial)) ?? []).some((each) =>
      each.sites.some((one) => one.includes('{') || sameSite(one, site)),
    )
  const hidden = servedDials(adapted).filter(
    ({ sites, dial }) => !sites.some((site) => isWritten(site, dial)),
  )
  return [
    ...written,
    ...hidden.map(({ sites, dial }) => ({ site: sites[0] ?? '', sites, upstream: dial, line: 0 })),
  ]
}

export type CaddyUpstream = { site: string; sites: string[]; upstream: string; line: number }

/** Every dial of Caddy's JSON, with the addresses that lead to it (`(another app)` outside of HTTP). */
function servedDials(config: unknown): Array<{ sites: string[]; dial: string }> {
  const apps = dig(config, 'apps')
  const servers = Object.values(dig(apps, 'http', 'servers')).map((each) => dig(each))
  const http = servers.flatMap((server) => {
    const ports = list(server.listen).map((listen) => /:(\d+)$/.exec(String(listen))?.[1] ?? '')
    const routes = [
      ...list(server.routes),
      ...list(dig(server, 'errors').routes),
      ...Object.values(dig(server, 'named_routes')),
    ]
    return routes.flatMap((route) => {
      const hosts = list(dig(route).match).flatMap((match) => list(dig(match).host).map(String))
      const sites = (hosts.length > 0 ? hosts : ['']).flatMap((host) =>
        ports.map((port) => `${host}:${port}`),
      )
      return dialsIn(route).map((dial) => ({ sites, dial }))
    })
  })
  const others = Object.entries(apps).flatMap(([name, app]) => (name === 'http' ? [] : dialsIn(app)))
  return [...http, ...others.map((dial) => ({ sites: ['(another app)'], dial }))]
}

function dialsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const { dial, name, port, source } = dig(value)
  const own = [dial].flat().filter((each) => typeof each === 'string')
  // `dynamic a localhost 8288`
  const dynamic = typeof source === 'string' && port !== undefined ? [`${String(name)}:${String(port)}`] : []
  return [...own, ...dynamic, ...Object.values(value).flatMap(dialsIn)]
}
