import { type Failure, OnehopError } from '../errors.ts'
import type { ChangeRecord } from '../journal-records.ts'
import type { Setup } from '../setup.ts'
import { endAttempt } from '../steps/attempt.ts'
import { type Step, tried } from '../steps/step.ts'
import {
  areShared,
  awaitDeviceId,
  beginRollback,
  beginWithoutCluster,
  proveUndone,
  type RollbackOptions,
  undoChanges,
  undoOrder,
  undoTogether,
} from '../steps/undo-change.ts'

/**
 * Takes back what was done to services, whatever the cause: reads the journal backwards, undoes and proves each change.
 * What several share is undone in one edit. It can be run again from every state, with an engine or without.
 */
export async function rollback(step: Step, options: RollbackOptions): Promise<RollbackResult[]> {
  const { setup, services, failure, force, to } = options
  const begun = await Promise.all(services.map((name) => begin(step, options, name)))
  // Backwards, and no further than what could be undone: while Caddy still leads to the device, the device must stay.
  const stopped = new Map<string, Failure>()
  for (const stage of undoOrder) {
    const concerned = begun.flatMap(({ name, attempt, changes, seconds, refused }) => {
      if (refused && stage.includes('expose')) stopped.set(name, refused)
      const ids = stage.filter((id) => changes.includes(id))
      return attempt !== undefined && ids.length > 0 && !stopped.has(name)
        ? [{ name, attempt, ids, seconds }]
        : []
    })
    const together =
      areShared(stage) && concerned.length > 1
        ? await undoTogether(step, { setup, services: concerned, force })
        : undefined
    await Promise.all(
      concerned.map(async ({ name: service, attempt, ids, seconds }) => {
        const deviceId = ids.includes('expose') ? await awaitDeviceId(step, { setup, service }) : undefined
        const isDone = together?.ok && !together.value.includes(service)
        // One by one, a silent system would be silent for each.
        const isVain = together && !together.ok && together.failure.silent && step.patience
        const undone =
          together && (isDone || isVain)
            ? together
            : await undoChanges(step, { setup, service, attempt, ids, force })
        const proven = undone.ok
          ? await proveUndone(step, { setup, service, attempt, ids, deviceId, seconds })
          : undone
        if (!proven.ok) stopped.set(service, proven.failure)
      }),
    )
  }
  return Promise.all(
    begun.map(async ({ name, attempt, refused }): Promise<RollbackResult> => {
      if (refused && attempt === undefined) return { service: name, state: 'refused', failure: refused }
      if (attempt === undefined) return { service: name, state: 'restored' }
      const incomplete = stopped.get(name)
      const state = incomplete ? 'rollback-incomplete' : (to ?? 'restored')
      const why = incomplete ?? failure
      const id = `${name}/rollback: end`
      const ended = await endAttempt(step, setup, { id, name, attempt, state, failure: why, always: true })
      if (!ended.ok) return { service: name, state: 'refused', failure: ended.failure }
      return { service: name, state, ...(why && { failure: why }) }
    }),
  )
}

/** What there is to undo, or why not. Where somebody waits and the cluster does not answer, at least Caddy may be led back. */
async function begin(step: Step, options: RollbackOptions, name: string): Promise<Undoing> {
  const begun = await beginRollback(step, options, name)
  if (begun.ok) return { name, ...begun.value }
  const refused = begun.failure
  if (step.patience && options.to === undefined && refused.code === 'kubernetes-unreachable') {
    const withoutCluster = await beginWithoutCluster(step, options, name)
    if (withoutCluster.ok) return { name, refused, ...withoutCluster.value }
  }
  return { name, changes: [], seconds: 0, refused }
}

/** Whether a service is where its rollback was to bring it. */
export const isBack = ({ state }: RollbackResult) => state === 'restored' || state === 'moved'

export type RollbackResult = {
  service: string
  state: 'restored' | 'moved' | 'rollback-incomplete' | 'refused'
  failure?: Failure
}

/** Whether an action is forced: only by a code that the command line wrote to the state folder. */
export function redeemForce(
  step: Step,
  setup: Setup,
  { action, force: code }: { action: string; force?: string | undefined },
) {
  if (code === undefined) return { ok: true as const, value: false }
  return tried(
    step,
    'redeem the code',
    async () => {
      if (await (await setup.journal()).redeemCode(code, action)) return true
      throw new OnehopError('force-code-invalid', { action })
    },
    { always: true },
  )
}

/** What a code is issued for. */
export const forceAction = (what: 'rollback' | 'retire', service: string) => `force the ${what} of ${service}`

/** Asks for the rollback of an attempt: all causes take this one way. */
export function requestRollback(step: Step, { request, name, attempt, failure, to }: Requested) {
  return step.sendEvent(`${name}: request rollback`, {
    id: `${request}/${name}/${attempt}/rollback`,
    name: 'mesh/service.rollback.requested',
    data: { service: name, attempt, failure, ...(to && { to }) },
  })
}

type Undoing = {
  name: string
  attempt?: number | undefined
  changes: ChangeRecord['id'][]
  seconds: number
  /** Beside an attempt: why it goes no further than Caddy. */
  refused?: Failure
}
type Requested = { request: string; name: string; attempt: number; failure: Failure; to?: 'moved' }
