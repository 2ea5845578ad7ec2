import { type ErrorCode, toOnehopError } from './errors.ts'
import type { Entry, State } from './journal-records.ts'
import { isClusterService, type Mesh } from './plan/mesh.ts'
import { advertised, pathsOf, type ServicePath } from './plan/paths.ts'
import type { Setup } from './setup.ts'

/**
 * What the worker tells anyone who can reach it: names, states, paths and counts. The journal's entries hold pieces of
 * Caddyfiles and policies, with what secrets are in them, and words that count as proof: so each field is written out here,
 * and one that an entry gains is not told. Of a failure it is the code alone, since its message may quote a file.
 */
export type WorkerStatus = {
  status: 'ok'
  service: string
  /** Without a user, a password or a query. */
  engine: string
  functions: string[]
  /** Those that the journal knows; `changes` counts what was changed of it and not taken back. */
  services: Array<{ service: string; state: State; paths: AdvertisedPath[]; changes: number }>
  /** Why the journal or mesh.yaml could not be read. */
  failure?: { code: ErrorCode }
}
type AdvertisedPath = Pick<ServicePath, 'port'> & Partial<Pick<ServicePath, 'portMap' | 'oldUrl' | 'device'>>

/** What is known by now of the services, or why nothing is. Never throws. */
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

/** The paths by which clients may come, of a service that mesh.yaml still names. */
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
