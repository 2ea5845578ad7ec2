import { type Failure, OnehopError } from '../errors.ts'
import type { State } from '../journal.ts'
import { loadWork } from '../load-mesh.ts'
import { annotateService, type ExposeState } from '../steps/annotate-service.ts'
import { proveWithdrawn } from '../steps/prove-withdrawn.ts'
import { awaited, type Step, tried } from '../steps/step.ts'
import { type SwitchState, switchCaddyRoutes } from '../steps/switch-caddy-routes.ts'

/**
 * Takes back what was done to one service, whatever the cause: reads the journal backwards, undoes and proves each
 * change. It can be run again from every state, with an engine or (by `localStep`) without.
 */
export async function rollback(
  step: Step,
  { meshFile, request, run, service, failure }: RollbackOptions,
): Promise<RollbackResult> {
  const begun = await tried(step, `${service}/rollback: begin`, async () => {
    const { mesh, systems, journal } = await loadWork(meshFile)
    const entry = await journal.read(service)
    const cluster = await systems.kubernetes.clusterId()
    if (entry && entry.state !== 'restored' && entry.cluster !== cluster)
      throw new OnehopError('cluster-changed', { service, expected: entry.cluster, found: cluster })
    const started = await journal.beginRollback(service, { request, run, failure })
    const proxies = started ? await systems.kubernetes.proxies(mesh.operator.namespace) : {}
    const exposed = started?.changes.find((each) => each.id === 'expose')?.before as ExposeState | undefined
    return {
      attempt: started?.attempt,
      changes:
        started?.changes
          .filter((each) => !each.undone)
          .map((each) => each.id)
          .reverse() ?? [],
      deviceId: exposed && proxies[`${exposed.namespace}/${exposed.name}`]?.deviceId,
    }
  })
  if (!begun.ok) return { service, state: 'refused', failure: begun.failure }
  const { attempt, changes, deviceId } = begun.value
  if (attempt === undefined) return { service, state: 'restored' }

  // Every change is undone, also after one could not be: each piece taken back is one less in a half-moved service.
  let incomplete: Failure | undefined
  for (const id of changes) {
    const undone = await tried(step, `${service}/${id}: undo`, () => undo(meshFile, { service, attempt, id }))
    const proven = undone.ok ? await proveUndone(step, { meshFile, service, attempt, id, deviceId }) : undone
    if (!proven.ok) incomplete ??= proven.failure
  }
  const state = incomplete ? 'rollback-incomplete' : 'restored'
  const ended = await tried(step, `${service}/rollback: end`, async () => {
    const { journal } = await loadWork(meshFile)
    await journal.end(service, attempt, { state, failure: incomplete ?? failure })
  })
  if (!ended.ok) return { service, state: 'refused', failure: ended.failure }
  return { service, state, ...(incomplete ? { failure: incomplete } : failure && { failure }) }
}

export type RollbackOptions = {
  meshFile: string
  request: string
  run: string
  service: string
  failure?: Failure | undefined
}
export type RollbackResult = {
  service: string
  state: 'restored' | 'rollback-incomplete' | 'refused'
  failure?: Failure
}

/** Asks for the rollback of a failed attempt: all causes take this one way. */
export function requestRollback(
  step: Step,
  { request, name, attempt, failure }: { request: string; name: string; attempt: number; failure: Failure },
) {
  return step.sendEvent(`${name}: request rollback`, {
    id: `${request}/${name}/${attempt}/rollback`,
    name: 'mesh/service.rollback.requested',
    data: { service: name, failure },
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

async function proveUndone(
  step: Step,
  { meshFile, service, attempt, id, deviceId }: Undo & { meshFile: string; deviceId: string | undefined },
) {
  const { mesh } = await loadWork(meshFile)
  return awaited(step, `${service}/${id}: prove undone`, {
    seconds: mesh.deadlines.undo,
    look: async () => {
      const { systems, journal } = await loadWork(meshFile)
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
