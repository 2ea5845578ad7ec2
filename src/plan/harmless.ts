import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import { lookup } from './lookup.ts'
import type { ClusterService } from './mesh.ts'
import { exposeAnnotations, proxyKey } from './paths.ts'
import { groupBy } from './remember.ts'
import type { Snapshot } from './snapshot.ts'

/** A difference that is known to mean nothing, and where it was seen. */
export type Harmless = { what: string; where: string[] }

/**
 * What differs from mesh.yaml and means nothing: each kind is named once, so that nobody takes it for a reason to act, and
 * nobody has to look it up a second time.
 */
export function harmlessOf(services: ClusterService[], snapshot: Snapshot): Harmless[] {
  const known = lookup(snapshot)
  const objects = services.flatMap((each) => known.service(each.service) ?? [])
  const held = objects.filter((each) => each.finalizers.includes(finalizer))
  const annotations = groupBy(
    objects.flatMap((object) => otherAnnotations(object).map((each) => ({ ...each, object }))),
    ({ key, manager }) => `annotation ${key} of ${manager}, which is not onehop's and stays`,
  )
  const devices = services.flatMap((each) => {
    const id = snapshot.cluster?.proxies[proxyKey(each)]?.deviceId
    const device = id === undefined ? undefined : known.device(id)
    return device && device.addresses.length > 1 ? [device.name] : []
  })
  return [
    { what: 'the finalizer of the operator, which takes it away itself', where: held.map(nameOf) },
    ...[...annotations].map(([what, all]) => ({ what, where: all.map(({ object }) => nameOf(object)) })),
    { what: "a device's other address: its name answers with one of them", where: devices },
  ].filter(({ where }) => where.length > 0)
}

/** The annotations under the operator's name that mesh.yaml says nothing of. */
export const otherAnnotations = ({ annotations }: ServiceFacts) =>
  Object.entries(annotations).flatMap(([key, { value, manager }]) =>
    ours.has(key) ? [] : [{ key, value, manager }],
  )

const finalizer = 'tailscale.com/finalizer'
const ours = new Set(Object.keys(exposeAnnotations({ hostname: '', tag: '' })))
const nameOf = ({ namespace, name }: ServiceFacts) => `${namespace}/${name}`
