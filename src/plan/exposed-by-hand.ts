import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import { lookup } from './lookup.ts'
import { type ClusterService, isClusterService, type Mesh } from './mesh.ts'
import { exposeAnnotations } from './paths.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * What a service of mesh.yaml that somebody has exposed by hand needs to be told: that onehop takes over, and gives back.
 * Nothing, where it is not exposed, or by onehop.
 */
export function handOver(service: ClusterService, snapshot: Snapshot): string[] {
  const entry = lookup(snapshot).entry(service.name)
  const facts = lookup(snapshot).service(service.service)
  const manager = facts && exposedBy(facts)
  if (!manager || manager === 'onehop' || (entry && entry.state !== 'restored')) return []
  const other = Object.entries(exposeAnnotations(service)).filter(
    ([key, value]) => facts.annotations[key] !== undefined && facts.annotations[key].value !== value,
  )
  const keeps = other.length === 0 ? 'its values are those of mesh.yaml and stay' : 'it sets those marked ~'
  return [
    `exposed by hand already (${manager}): onehop expose ${service.name} takes the annotations over (${keeps}), and onehop rollback ${service.name} gives them back; it stays exposed then`,
  ]
}

/** Services that are exposed and not in mesh.yaml, each with who did it: seen, and never touched. */
export function exposedElsewhere(
  mesh: Mesh,
  { cluster }: Snapshot,
): Array<{ object: string; manager: string }> {
  const ours = new Set(mesh.services.filter(isClusterService).map((each) => each.service))
  return (cluster?.services ?? []).flatMap((facts) => {
    const manager = exposedBy(facts)
    return manager && !ours.has(nameOf(facts)) ? [{ object: nameOf(facts), manager }] : []
  })
}

const nameOf = ({ namespace, name }: ServiceFacts) => `${namespace}/${name}`

function exposedBy({ annotations }: ServiceFacts): string | undefined {
  const expose = annotations['tailscale.com/expose']
  return expose?.value === 'true' ? expose.manager : undefined
}
