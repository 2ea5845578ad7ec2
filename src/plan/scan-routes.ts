import { caddyUpstreams } from './caddy-upstreams.ts'
import { hasVariable, hostAndPort, sameUpstream } from './caddyfile.ts'
import type { Inventory } from './scan-inventory.ts'

/**
 * The ways from Caddy's sites to ports of this machine, one for each site block and port. `obstacle` says why a way is not
 * one that onehop would switch as it stands: mesh.yaml's `routes` name a site whose block leads to that one port alone.
 */
export function localRoutes({ caddy, tailnet }: Inventory): { routes: LocalRoute[]; elsewhere: string[] } {
  const upstreams = caddyUpstreams({ text: caddy.text ?? '', adapted: caddy.adapted ?? caddy.running })
  const self = tailnet?.self
  const own = self ? [self.name, `${self.name}.${tailnet.name}`, ...self.addresses] : []
  const portHere = (upstream: string) => {
    const [, host = '', port] = /^(.*):(\d+)$/.exec(upstream.toLowerCase()) ?? []
    const bare = host.replace(/^\[|\]$/g, '')
    const isHere = /^(localhost|127\..*|::1|0\.0\.0\.0|)$/.test(bare) || own.includes(bare)
    return port !== undefined && isHere ? Number(port) : undefined
  }
  // However a site is written; all upstreams that it leads to.
  const bySite = new Map<string, Set<string>>()
  for (const { sites, upstream } of upstreams)
    for (const key of sites.map(siteKey)) bySite.set(key, (bySite.get(key) ?? new Set()).add(upstream))
  const routes = new Map<string, LocalRoute>()
  const elsewhere = new Set<string>()
  for (const { site, sites, upstream, line } of upstreams) {
    const port = portHere(upstream)
    if (port === undefined) {
      elsewhere.add(upstream)
      continue
    }
    const beside = sites
      .flatMap((each) => [...(bySite.get(siteKey(each)) ?? [])])
      .filter((each) => !sameUpstream(each, upstream))
    const obstacle = obstacleOf({ site, sites, line, upstream, port, beside: [...new Set(beside)] })
    const key = `${sites.join(' ')} ${port}`
    // Of two that lead to one port, the one that may not be switched decides.
    const known = routes.get(key)
    if (!known || (known.obstacle === undefined && obstacle !== undefined))
      routes.set(key, { site, port, line, upstream, ...(obstacle !== undefined && { obstacle }) })
  }
  return { routes: [...routes.values()], elsewhere: [...elsewhere] }
}

/** `line` is 0 for what does not stand in the Caddyfile's own site blocks. */
export type LocalRoute = { site: string; port: number; line: number; upstream: string; obstacle?: string }

function siteKey(site: string): string {
  const { host, port } = hostAndPort(site)
  return `${host} ${port}`
}

/** Whether a site, or another address of its block on another port, has a part that only Caddy's environment knows. */
const isUncertain = (site: string, sites: string[]) =>
  hasVariable(site) ||
  sites.some((each) => hasVariable(each) && hostAndPort(each).port !== hostAndPort(site).port)

function obstacleOf({
  site,
  sites,
  line,
  upstream,
  port,
  beside,
}: {
  site: string
  sites: string[]
  line: number
  upstream: string
  port: number
  beside: string[]
}): string | undefined {
  const reasons = [
    ...(line === 0
      ? [
          'it comes by an import, a snippet or another form, and onehop edits only what stands in a site block',
        ]
      : []),
    ...(isUncertain(site, sites)
      ? [
          'its address holds a placeholder for a variable of the environment, so that onehop cannot tell which site of Caddy it is',
        ]
      : site.includes('{')
        ? ['its address holds a placeholder, so that it cannot be proven']
        : []),
    ...(sameUpstream(upstream, `localhost:${port}`)
      ? []
      : [`it is written as ${upstream}, and onehop looks for localhost:${port}`]),
    ...(beside.length > 0 ? [`the same site also leads to ${beside.join(', ')}`] : []),
    ...(/^(localhost|127\..*|::1)$/.test(hostAndPort(site).host)
      ? ['only programs of this machine come in here, such as Tailscale Funnel']
      : []),
  ]
  return reasons.length > 0 ? reasons.join('; ') : undefined
}
