import type { Failure } from '../errors.ts'
import type { KeptType } from '../plan/service-type.ts'
import type { Setup } from '../setup.ts'
import { endAttempt } from '../steps/attempt.ts'
import { preflightRetire, proveRetired, removeRoutes, setType } from '../steps/retire-service.ts'
import type { Step } from '../steps/step.ts'
import { awaitRollbacks } from '../steps/undo-change.ts'
import { requestRollback } from './rollback.ts'

/**
 * The old path of a moved service goes, once it was shown to be unused: NodePort becomes ClusterIP, then Caddy's routes
 * are taken out. If anything fails on the way, the service is moved again, with its old path as it was.
 */
export async function retire(step: Step, options: RetireOptions): Promise<RetireResult> {
  const { setup, service, request } = options
  const begun = await preflightRetire(step, options)
  if (!begun.ok) return { service, state: 'refused', notes: [], failure: begun.failure }
  const { attempt, kept, notes } = begun.value

  const of = { setup, service, attempt }
  const changed = kept
    ? await removeRoutes(step, of)
    : await inTurn(
        () => setType(step, of),
        () => removeRoutes(step, of),
      )
  const proven = changed.ok ? await proveRetired(step, of) : changed
  const ended = proven.ok
    ? await endAttempt(step, setup, { id: `${service}: retired`, name: service, attempt, state: 'retired' })
    : proven
  if (ended.ok) return { service, state: 'retired', notes, ...(kept && { kept }) }
  const { failure } = ended
  if (!failure.code.endsWith('-superseded'))
    await requestRollback(step, { request, name: service, attempt, failure, to: 'moved' })
  const ends = await awaitRollbacks(step, setup, { wave: service, attempts: [{ name: service, attempt }] })
  return { service, state: ends[service] === 'moved' ? 'moved' : 'rollback-incomplete', notes, failure }
}

export type RetireOptions = { setup: Setup; request: string; run: string; service: string; forced: boolean }
/** `notes` are for the user to do: where the type is written apart from the cluster. `kept`: it is left to its owner. */
export type RetireResult = {
  service: string
  state: 'retired' | 'moved' | 'rollback-incomplete' | 'refused'
  notes: string[]
  kept?: KeptType
  failure?: Failure
}

async function inTurn<T extends { ok: boolean }>(
  first: () => Promise<T>,
  second: () => Promise<T>,
): Promise<T> {
  const done = await first()
  return done.ok ? second() : done
}
