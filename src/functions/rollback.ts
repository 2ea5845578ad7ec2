import type { Failure } from '../errors.ts'
import { endAttempt } from '../steps/attempt.ts'
import type { Step } from '../steps/step.ts'
import { beginRollback, proveUndone, type RollbackOptions, undoChange } from '../steps/undo-change.ts'

/**
 * Takes back what was done to one service, whatever the cause: reads the journal backwards, undoes and proves each
 * change. It can be run again from every state, with an engine or (by `localStep`) without.
 */
export async function rollback(
  step: Step,
  { meshFile, request, run, service, attempt: asked, failure }: RollbackOptions,
): Promise<RollbackResult> {
  const begun = await beginRollback(step, { meshFile, request, run, service, attempt: asked, failure })
  if (!begun.ok) return { service, state: 'refused', failure: begun.failure }
  const { attempt, changes, deviceId, seconds } = begun.value
  if (attempt === undefined) return { service, state: 'restored' }

  // Backwards, and no further than what could be undone: while Caddy still leads to the device, the device must stay.
  let incomplete: Failure | undefined
  for (const id of changes) {
    const undone = await undoChange(step, { meshFile, service, attempt, id })
    const proven = undone.ok
      ? await proveUndone(step, { meshFile, service, attempt, id, deviceId, seconds })
      : undone
    if (!proven.ok) {
      incomplete = proven.failure
      break
    }
  }
  const state = incomplete ? 'rollback-incomplete' : 'restored'
  const ended = await endAttempt(step, meshFile, {
    id: `${service}/rollback: end`,
    name: service,
    attempt,
    state,
    failure: incomplete ?? failure,
  })
  if (!ended.ok) return { service, state: 'refused', failure: ended.failure }
  return { service, state, ...(incomplete ? { failure: incomplete } : failure && { failure }) }
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
    data: { service: name, attempt, failure },
  })
}
