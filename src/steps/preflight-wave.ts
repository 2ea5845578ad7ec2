import { toOnehopError } from '../errors.ts'
import { type ClusterService, selectServices } from '../plan/mesh.ts'
import { preflightMesh, preflightService } from '../plan/preflight.ts'
import { requireWhole } from '../plan/snapshot.ts'
import type { Systems } from '../systems/systems.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import type { Attempt, Moving } from './attempt.ts'
import { proveOldPath } from './prove-path.ts'
import { type Step, tried } from './step.ts'

/** One look at the world for the whole wave; who may go on takes a number in the journal. */
export async function preflightWave(
  step: Step,
  moving: Moving,
  { wave, names }: { wave: string; names: string[] },
): Promise<Attempt[]> {
  const looked = await tried(step, `${wave}: preflight`, async () => {
    const { mesh, systems, journal } = await moving.setup.work()
    // Thrown, so that the step tries again what could not be reached.
    const snapshot = requireWhole(await takeSnapshot({ mesh, systems, journal }))
    const [general] = preflightMesh(mesh, snapshot)
    return Promise.all(
      selectServices(mesh, names).map(async (service): Promise<Attempt> => {
        const failure =
          general ?? preflightService(mesh, service, snapshot)[0] ?? (await oldPathFailure(systems, service))
        if (failure) return { name: service.name, failure }
        return begin(moving, service, snapshot.cluster.id)
      }),
    )
  })
  return looked.ok ? looked.value : names.map((name) => ({ name, failure: looked.failure }))
}

async function oldPathFailure(systems: Systems, service: ClusterService) {
  return proveOldPath(systems, service).then(
    () => undefined,
    (thrown: unknown) => toOnehopError(thrown).toJSON(),
  )
}

async function begin(
  { setup, request, run }: Moving,
  service: ClusterService,
  cluster: string,
): Promise<Attempt> {
  const { journal, mesh } = await setup.work()
  return journal.begin(service.name, { request, run, cluster, tailnet: mesh.tailnet }).then(
    ({ attempt }) => ({ name: service.name, attempt }),
    (thrown: unknown) => ({ name: service.name, failure: toOnehopError(thrown).toJSON() }),
  )
}
