import { OnehopError, toOnehopError } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import { isClusterService } from '../plan/mesh.ts'
import type { Work } from '../setup.ts'
import type { ExposeState } from './annotate-service.ts'
import { proveOldPath } from './prove-path.ts'

/**
 * A Service that was retired may be a ClusterIP by its owner's hand (a `helm upgrade`, where Helm owns the type). Its port map
 * answers no more then, and an undo that leads Caddy there and takes the device away would leave no path at all.
 *
 * @throws OnehopError port-map-gone
 */
export async function refuseNoWayBack({ mesh, systems }: Work, entry: Entry): Promise<void> {
  if (!Object.values(entry.ended).some(({ state }) => state === 'retired')) return
  const service = mesh.services.filter(isClusterService).find((each) => each.name === entry.service)
  const exposed = entry.changes.find((each) => each.id === 'expose')?.target as ExposeState | undefined
  if (!service || !exposed) return
  const facts = await systems.kubernetes.service(exposed.namespace, exposed.name)
  // Another Service of that name has no device of ours.
  if (facts?.uid !== exposed.uid || facts.type !== 'ClusterIP') return
  // A pod in its node's network may answer there without a NodePort.
  await proveOldPath(systems, service).catch((thrown: unknown) => {
    const { message } = toOnehopError(thrown)
    throw new OnehopError('port-map-gone', { object: service.service, message, service: service.name })
  })
}
