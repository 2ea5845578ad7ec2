import { type Failure, fromFailure, OnehopError, toOnehopError } from '../errors.ts'
import { loadWork } from '../load-mesh.ts'
import type { ClusterService } from '../plan/mesh.ts'
import { selectServices } from '../plan/mesh.ts'
import { wavesOf } from '../plan/plan.ts'
import { preflightMesh, preflightService } from '../plan/preflight.ts'
import { annotateService, type ExposeState } from '../steps/annotate-service.ts'
import { type Proof, proveOldPath, provePath } from '../steps/prove-path.ts'
import { soakWave } from '../steps/soak.ts'
import { awaited, type Step, tried, withPatience } from '../steps/step.ts'
import { type SwitchState, switchCaddyRoutes } from '../steps/switch-caddy-routes.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import { installOperator } from './install-operator.ts'
import { awaitRollback, requestRollback } from './rollback.ts'

/**
 * Moves services, wave by wave: expose, prove, switch, soak. One failure is one service's: it is rolled back alone.
 * Read it top down; every step can be run again, and a request that has ended changes nothing.
 */
export async function migrate(
  step: Step,
  { meshFile, request, run, services }: MigrateOptions,
): Promise<MigrationResult> {
  const plan = await tried(step, 'plan', async () => {
    const { mesh } = await loadWork(meshFile)
    return wavesOf(selectServices(mesh, services)).map((wave) => wave.map((each) => each.name))
  })
  if (!plan.ok) return refused(plan.failure)
  const operator = await installOperator(step, { meshFile })
  if (operator.state === 'failed') return refused(operator.failure)

  const moving: Moving = { meshFile, request, run }
  const results: ServiceResult[] = []
  for (const [index, names] of plan.value.entries()) {
    const wave = `wave ${index + 1}`
    const attempts = await preflight(step, moving, { wave, names })
    const exposed = await Promise.all(
      attempts.map((each) => (each.failure ? each : expose(step, moving, each))),
    )
    const switched = await switchRoutes(step, moving, { wave, attempts: exposed })
    const soaked = await soakWave(step, moving, { wave, attempts: switched })
    results.push(...(await Promise.all(soaked.map((each) => settle(step, moving, each)))))
  }
  return {
    state: results.every((each) => each.state === 'moved') ? 'completed' : 'failed',
    services: results,
  }
}

export type MigrateOptions = {
  meshFile: string
  request: string
  run: string
  services?: string[] | undefined
}
export type MigrationResult =
  | { state: 'completed' | 'failed'; services: ServiceResult[] }
  | { state: 'refused'; failure: Failure; services: ServiceResult[] }
export type ServiceResult = {
  name: string
  state: 'moved' | 'refused' | 'restored' | 'rollback-incomplete'
  oldMs?: number
  newMs?: number
  direct?: boolean
  backend?: string
  failure?: Failure
}
/** A service on its way; `attempt` is absent if it was refused before anything was written down. */
export type Attempt = { name: string; attempt?: number; proof?: Proof; failure?: Failure }
export type Moving = { meshFile: string; request: string; run: string }

const refused = (failure: Failure): MigrationResult => ({ state: 'refused', failure, services: [] })

async function serviceOf(meshFile: string, name: string) {
  const work = await loadWork(meshFile)
  const [service] = selectServices(work.mesh, [name])
  if (!service) throw new OnehopError('service-unknown', { service: name, known: '' })
  return { ...work, service }
}

/** One look at the world for the whole wave; who may go on takes a number in the journal. */
async function preflight(
  step: Step,
  moving: Moving,
  { wave, names }: { wave: string; names: string[] },
): Promise<Attempt[]> {
  const looked = await tried(step, `${wave}: preflight`, async () => {
    const { mesh, systems, journal } = await loadWork(moving.meshFile)
    const snapshot = await withPatience(async () => {
      const taken = await takeSnapshot({ mesh, systems, journal })
      const unreachable = taken.failures.find((each) => each.kind === 'system')
      if (unreachable) throw fromFailure(unreachable)
      return taken
    })
    const [general] = preflightMesh(mesh, snapshot)
    return Promise.all(
      selectServices(mesh, names).map(async (service): Promise<Attempt> => {
        const failure =
          general ?? preflightService(mesh, service, snapshot)[0] ?? (await oldPathFailure(systems, service))
        if (failure) return { name: service.name, failure }
        return begin(moving, service, snapshot.cluster?.id ?? '')
      }),
    )
  })
  return looked.ok ? looked.value : names.map((name) => ({ name, failure: looked.failure }))
}

async function oldPathFailure(
  systems: Awaited<ReturnType<typeof loadWork>>['systems'],
  service: ClusterService,
) {
  return proveOldPath(systems, service).then(
    () => undefined,
    (thrown: unknown) => toOnehopError(thrown).toJSON(),
  )
}

async function begin(
  { meshFile, request, run }: Moving,
  service: ClusterService,
  cluster: string,
): Promise<Attempt> {
  const { journal, mesh } = await loadWork(meshFile)
  return journal.begin(service.name, { request, run, cluster, tailnet: mesh.tailnet }).then(
    ({ attempt }) => ({ name: service.name, attempt }),
    (thrown: unknown) => ({ name: service.name, failure: toOnehopError(thrown).toJSON() }),
  )
}

/** Record, apply, prove. */
async function expose(step: Step, { meshFile }: Moving, { name, attempt = 0 }: Attempt): Promise<Attempt> {
  const recorded = await tried(step, `${name}/expose: record`, async () => {
    const { systems, journal, service } = await serviceOf(meshFile, name)
    const before = await annotateService.read(systems, service)
    await journal.record(name, attempt, {
      id: 'expose', before, target: annotateService.target(before, service), uid: before.uid, undone: false,
    }) // biome-ignore format: one record
  })
  if (!recorded.ok) return { name, attempt, failure: recorded.failure }

  const applied = await tried(step, `${name}/expose: apply`, async () => {
    const { systems, journal } = await serviceOf(meshFile, name)
    await journal.guarded(name, attempt, async (entry) => {
      const change = entry.changes.find((each) => each.id === 'expose')
      await annotateService.write(systems, {
        from: change?.before as ExposeState,
        to: change?.target as ExposeState,
        undo: false,
      })
    })
  })
  if (!applied.ok) return { name, attempt, failure: applied.failure }

  const { mesh } = await serviceOf(meshFile, name)
  const proven = await awaited(step, `${name}/expose: prove`, {
    seconds: mesh.deadlines.device,
    look: async () => {
      const { systems, service } = await serviceOf(meshFile, name)
      return provePath(systems, mesh, service)
    },
  })
  return proven.ok ? { name, attempt, proof: proven.value } : { name, attempt, failure: proven.failure }
}

/** Caddy's routes of every service of the wave that is proven: one edit, one reload. */
async function switchRoutes(
  step: Step,
  { meshFile }: Moving,
  { wave, attempts }: { wave: string; attempts: Attempt[] },
): Promise<Attempt[]> {
  const ready = attempts.filter((each) => !each.failure)
  if (ready.length === 0) return attempts
  const recorded = await step.run(`${wave}/switch: record`, () =>
    Promise.all(
      ready.map(
        async ({ name, attempt = 0 }): Promise<{ name: string; routes: number; failure?: Failure }> => {
          try {
            const { mesh, systems, journal, service } = await serviceOf(meshFile, name)
            const before = await withPatience(() => switchCaddyRoutes.read(systems, mesh, service))
            if (before.routes.length > 0)
              await journal.record(name, attempt, {
                id: 'switch',
                before,
                target: switchCaddyRoutes.target(before, mesh, service),
                undone: false,
              })
            return { name, routes: before.routes.length }
          } catch (thrown) {
            return { name, routes: 0, failure: toOnehopError(thrown).toJSON() }
          }
        },
      ),
    ),
  )
  const routed = ready.filter(({ name }) => recorded.some((each) => each.name === name && each.routes > 0))
  const applied = await tried(step, `${wave}/switch: apply`, async () => {
    const { systems, journal } = await loadWork(meshFile)
    const swaps: Array<{ from: SwitchState; to: SwitchState }> = []
    // Every service's lock is held, in mesh.yaml's order, while the one file changes for all of them.
    const locked = async (rest: Attempt[]): Promise<{ reloaded: boolean }> => {
      const [first, ...others] = rest
      if (!first) return switchCaddyRoutes.write(systems, swaps)
      return journal.guarded(first.name, first.attempt ?? 0, (entry) => {
        const change = entry.changes.find((each) => each.id === 'switch')
        swaps.push({ from: change?.before as SwitchState, to: change?.target as SwitchState })
        return locked(others)
      })
    }
    return locked(routed)
  })
  return attempts.map((each) => {
    const failure =
      each.failure ??
      recorded.find(({ name }) => name === each.name)?.failure ??
      (!applied.ok && routed.some(({ name }) => name === each.name) ? applied.failure : undefined)
    return failure ? { ...each, failure } : each
  })
}

/** The end of one service: moved, refused before anything was changed, or rolled back. */
async function settle(
  step: Step,
  moving: Moving,
  { name, attempt, proof, failure }: Attempt,
): Promise<ServiceResult> {
  if (!failure) {
    const ended = await tried(step, `${name}: moved`, async () => {
      const { journal } = await loadWork(moving.meshFile)
      await journal.end(name, attempt ?? 0, { state: 'moved' })
    })
    if (ended.ok)
      return {
        name,
        state: 'moved',
        ...(proof && { oldMs: proof.oldMs, newMs: proof.ms, direct: proof.direct, backend: proof.backend }),
      }
    return { name, state: 'refused', failure: ended.failure }
  }
  // Without an attempt nothing was changed; a superseded one belongs to somebody else now.
  if (attempt === undefined || failure.code === 'attempt-superseded')
    return { name, state: 'refused', failure }
  await requestRollback(step, { ...moving, name, attempt, failure })
  return { name, state: await awaitRollback(step, moving, { name, attempt }), failure }
}
