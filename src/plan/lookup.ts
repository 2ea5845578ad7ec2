import { canonicalUpstream, readUpstreams } from './caddyfile.ts'
import { parsePolicy, tagOwnersOf } from './policy-text.ts'
import { groupBy, remember } from './remember.ts'
import type { Snapshot } from './snapshot.ts'

/** A snapshot by the keys that every service asks for: with a walk through its lists for each, a plan would be quadratic. */
export const lookup = remember((snapshot: Snapshot) => {
  const { cluster, tailnet, caddy, journal } = snapshot
  const services = new Map(cluster?.services.map((each) => [`${each.namespace}/${each.name}`, each]))
  const ingresses = new Map(cluster?.ingresses?.map((each) => [`${each.namespace}/${each.name}`, each]))
  const entries = new Map(journal.map((each) => [each.service, each]))
  const devices = groupBy(tailnet?.devices ?? [], (each) => each.name.split('.')[0] ?? '')
  const deviceIds = new Map(tailnet?.devices.map((each) => [each.id, each]))
  const upstreams = caddy && readUpstreams(caddy.text)
  const dialled = groupBy(upstreams?.({}) ?? [], (each) => canonicalUpstream(each.upstream))
  return {
    /** By namespace/name. */
    service: (object: string) => services.get(object),
    ingress: (object: string) => ingresses.get(object),
    entry: (service: string) => entries.get(service),
    /** Who bears a name on the tailnet: that of the first label. */
    devicesNamed: (hostname: string) => devices.get(hostname) ?? [],
    device: (id: string) => deviceIds.get(id),
    /** What stands in the Caddyfile; `undefined` if it was not read. */
    upstreams,
    /** The sites of the Caddyfile that lead to an upstream. */
    sitesTo: (upstream: string) => dialled.get(canonicalUpstream(upstream)) ?? [],
    /** `undefined` if it was not read. @throws OnehopError policy-unreadable */
    policy: () => parsedPolicy(snapshot),
    /** Who may use each tag; `undefined` if the policy was not read. @throws OnehopError policy-unreadable */
    tagOwners: () => {
      const parsed = parsedPolicy(snapshot)
      return parsed && tagOwnersOf(parsed)
    },
  }
})

const parsedPolicy = remember(({ policy }: Snapshot) =>
  policy === undefined ? undefined : parsePolicy(policy),
)
