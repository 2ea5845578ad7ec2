import { type Failure, OnehopError } from '../errors.ts'
import type { State } from '../journal.ts'
import { loadWork } from '../load-mesh.ts'
import { annotateService, type ExposeState } from './annotate-service.ts'
import { proveWithdrawn } from './prove-withdrawn.ts'
import { awaited, type Step } from './step.ts'
import { type SwitchState, switchCaddyRoutes } from './switch-caddy-routes.ts'

/** An undo waits this long for a system that cannot be reached: a single-node cluster is away for a minute when it restarts. */
const reach = { seconds: 120, reach: true }

/** Takes the next attempt, so that nothing of the earlier one writes any more, and lists what is to be undone, last change first. */
export function beginRollback(
  step: Step,
  { meshFile, request, run, service, attempt, failure }: RollbackOptions,
) {
  return awaited(step, `${service}/rollback: begin`, {
    ...reach,
    look: async () => {
      const { mesh, systems, journal } = await loadWork(meshFile)
      const entry = await journal.read(service)
      const cluster = await systems.kubernetes.clusterId()
      if (entry && entry.state !== 'restored' && entry.cluster !== cluster)
        throw new OnehopError('cluster-changed', { service, expected: entry.cluster, found: cluster })
      const started = await journal.beginRollback(service, { request, run, attempt, failure })
      const proxies = started ? await systems.kubernetes.proxies(mesh.operator.namespace) : {}
      const exposed = started?.changes.find((each) => each.id === 'expose')?.before as ExposeState | undefined
      return {
        attempt: started?.attempt,
        seconds: mesh.deadlines.undo,
        changes:
          started?.changes
            .filter((each) => !each.undone)
            .map((each) => each.id)
            .reverse() ?? [],
        deviceId: exposed && proxies[`${exposed.namespace}/${exposed.name}`]?.deviceId,
      }
    },
  })
}

export type RollbackOptions = {
  meshFile: string
  request: string
  run: string
  service: string
  /** The attempt that it was asked for; without it, whatever stands. */
  attempt?: number | undefined
  failure?: Failure | undefined
}

/** Takes one change back, in one step. */
export const undoChange = (step: Step, of: Undo & { meshFile: string }) =>
  awaited(step, `${of.service}/${of.id}: undo`, { ...reach, look: () => undo(of.meshFile, of) })

/** Proves that a change is taken back, and only then writes it down as undone. */
export function proveUndone(step: Step, { meshFile, service, attempt, id, deviceId, seconds }: Undoing) {
  return awaited(step, `${service}/${id}: prove undone`, {
    seconds,
    reach: true,
    look: async () => {
      const { mesh, systems, journal } = await loadWork(meshFile)
      const change = (await journal.read(service))?.changes.find((each) => each.id === id)
      if (change && id === 'expose')
        await proveWithdrawn(systems, {
          before: change.before as ExposeState,
          operatorNamespace: mesh.operator.namespace,
          service,
          deviceId,
        })
      await journal.guarded(service, attempt, async (entry, save) => {
        const changes = entry.changes.map((each) => (each.id === id ? { ...each, undone: true } : each))
        await save({ ...entry, changes })
      })
    },
  })
}

/** Waits until the journal says how the rollback of an attempt ended: the journal cannot miss it, as a wait for an event could. */
export async function awaitRollback(
  step: Step,
  { meshFile }: { meshFile: string },
  { name, attempt }: { name: string; attempt: number },
) {
  const outcome = await awaited(step, `${name}/rollback: await`, {
    seconds: 600,
    look: async (): Promise<State> => {
      const entry = await (await loadWork(meshFile)).journal.read(name)
      if (entry && entry.attempt > attempt && entry.state !== 'rolling-back') return entry.state
      throw new OnehopError('undo-incomplete', {
        what: `the rollback of ${name}`,
        message: 'it has not ended',
        service: name,
      })
    },
  })
  return outcome.ok && outcome.value === 'restored' ? 'restored' : 'rollback-incomplete'
}

type Undoing = Undo & { meshFile: string; deviceId: string | undefined; seconds: number }
type Undo = { service: string; attempt: number; id: 'expose' | 'switch' }

async function undo(meshFile: string, { service, attempt, id }: Undo): Promise<void> {
  const { systems, journal } = await loadWork(meshFile)
  await journal.guarded(service, attempt, async (entry) => {
    const change = entry.changes.find((each) => each.id === id)
    if (!change) return
    switch (id) {
      case 'expose': {
        const from = change.target as ExposeState
        // A Service that is gone, or another of that name, holds nothing of ours.
        const now = await systems.kubernetes.service(from.namespace, from.name)
        if (now?.uid === from.uid)
          await annotateService.write(systems, { from, to: change.before as ExposeState, undo: true })
        return
      }
      case 'switch':
        await switchCaddyRoutes.write(
          systems,
          [{ from: change.target as SwitchState, to: change.before as SwitchState }],
          { expectRunning: false },
        )
        return
      default:
        return id satisfies never
    }
  })
}
