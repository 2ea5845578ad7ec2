import { sameSite } from './caddyfile.ts'
import { lookup } from './lookup.ts'
import type { ClusterService, Mesh } from './mesh.ts'
import { hasOldPath } from './paths.ts'
import { hostsOf, mightReachDevice, rulesAbout, type Who } from './policy-rules.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * Who still reaches a service through Caddy, whom its `allow` does not name: whoever may reach this machine at the site's
 * port, by the policy. One line for each of its routes that has such; nothing where `allow` says nothing anyway.
 */
export function throughCaddy(mesh: Mesh, service: ClusterService, snapshot: Snapshot): string[] {
  const { machine = '', tailnet: domain } = mesh
  if (service.allow.length === 0 || service.allow.includes('*')) return []
  const known = lookup(snapshot)
  const device = known.devicesNamed(machine).find((each) => each.name === `${machine}.${domain}`)
  const who = { name: machine, addresses: device?.addresses ?? [], tags: device?.tags ?? [] }
  const named = new Set(service.allow.map((each) => each.replace(`.${domain}`, '')))
  const routed = Object.keys(service.routes)
  const beside = hasOldPath(service)
    ? service.ports.flatMap(({ portMap }) => known.sitesTo(`localhost:${portMap}`))
    : []
  const sites = routed.flatMap((site) => {
    const port = Number(/:(\d+)$/.exec(site)?.[1] ?? (site.startsWith('http://') ? 80 : 443))
    const sources = sourcesOf(snapshot, who, port)
    const others = sources?.filter((each) => !named.has(each))
    if (others?.length === 0) return []
    const by = others ? ` (by the policy: ${others.join(', ')})` : ''
    return [
      `through Caddy, ${site} still answers everyone who can reach this machine${by}: allow restricts the device name alone; onehop retire ${service.name} ends that`,
    ]
  })
  return [
    ...sites,
    ...beside
      .filter(({ sites }) => !routed.some((site) => sites.some((each) => sameSite(site, each))))
      .map(
        ({ site, upstream, line }) =>
          `through Caddy, ${site} (line ${line}) also leads to ${upstream}, and is none of its routes: everyone who can reach that site (with a Funnel, the whole internet) reaches ${service.name}`,
      ),
  ]
}

/** Nothing, where the policy is not known. */
function sourcesOf(snapshot: Snapshot, who: Who, port: number): string[] | undefined {
  try {
    const policy = lookup(snapshot).policy()
    if (!policy) return undefined
    const about = (who.tags.length > 0 ? who.tags : ['']).flatMap((tag) => rulesAbout(policy, tag))
    const rules = about.filter((rule) => mightReachDevice(rule, who, port, hostsOf(policy)))
    return [...new Set(rules.flatMap((each) => each.sources))]
  } catch {
    return undefined
  }
}
