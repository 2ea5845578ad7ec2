import { type ErrorCode, toOnehopError } from './errors.ts'
import type { Entry, State } from './journal-records.ts'
import { isClusterService, type Mesh } from './plan/mesh.ts'
import { advertised, pathsOf, type ServicePath } from './plan/paths.ts'
import type { Setup } from './setup.ts'

/**
 * What anyone who reaches the worker may read: names, states, paths and counts. An entry of the journal holds pieces of the
 * Caddyfile and of the policy, which may contain secrets, and the word by which a proof counts. So each field is copied by
 * name, and a new field of an entry stays private. A failure shows its code alone: its message may quote a file.
 */
export type WorkerStatus = {
  status: 'ok'
  service: string
  /** Without a user, a password or a query. */
  engine: string
  functions: string[]
  /** The services in the journal. `changes` is how many changes of a service are in place. */
  services: Array<{ service: string; state: State; paths: AdvertisedPath[]; changes: number }>
  /** Set if the journal or mesh.yaml could not be read. */
  failure?: { code: ErrorCode }
}
type AdvertisedPath = Pick<ServicePath, 'port'> & Partial<Pick<ServicePath, 'portMap' | 'oldUrl' | 'device'>>

/** The part of the status that is read for each request. Never throws. */
export async function servicesKnown(setup: Setup): Promise<Pick<WorkerStatus, 'services' | 'failure'>> {
  try {
    const [mesh, journal] = await Promise.all([setup.mesh(), setup.journal()])
    const services = (await journal.list()).map((entry) => ({
      service: entry.service,
      state: entry.state,
      paths: pathsNow(mesh, entry),
      changes: entry.changes.filter((each) => !each.undone).length,
    }))
    return { services }
  } catch (thrown) {
    return { services: [], failure: { code: toOnehopError(thrown).code } }
  }
}

/** The paths that clients may use now; none if mesh.yaml no longer names the service. */
function pathsNow(mesh: Mesh, entry: Entry): AdvertisedPath[] {
  const service = mesh.services.filter(isClusterService).find((each) => each.name === entry.service)
  if (!service) return []
  const by = advertised(entry)
  return pathsOf(mesh, service).map(({ port, portMap, oldUrl, device }) => ({
    port,
    ...(by.portMap && portMap !== undefined && { portMap }),
    ...(by.oldUrl && oldUrl !== undefined && { oldUrl }),
    ...(by.device && { device }),
  }))
}
