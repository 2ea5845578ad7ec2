import { driftRecord, mostRepairs } from '../drift-record.ts'
import { type Failure, fromFailure, OnehopError } from '../errors.ts'
import { type Drift, driftId, isNamed } from '../plan/drift-kinds.ts'
import type { Setup } from '../setup.ts'
import { lookForDrift } from '../steps/look-for-drift.ts'
import { applyOperator, awaitOperator } from '../steps/operator-parts.ts'
import { awaitCleanUp, changeOf, writeAgain, writeSecretAgain } from '../steps/repair-drift.ts'
import { awaited, type Outcome, type Step, tried } from '../steps/step.ts'
import { writeBooks } from '../steps/write-books.ts'
import { lookAndTell } from './check-drift.ts'
import { migrate } from './migrate.ts'
import { isBack, rollback } from './rollback.ts'

/**
 * Repairs drift by the changes and the journal that everything else goes by, so that a rollback takes the repaired back
 * as it would have taken the first. What was repaired three times within an hour, and is there again, is left to a person.
 */
export async function repairDrift(step: Step, options: RepairOptions): Promise<RepairResult> {
  const { setup, request, names } = options
  const chosen = await choose(step, setup, names)
  if (!chosen.ok) return { state: 'failed', repairs: [], failure: chosen.failure }
  const { drifts, refused } = chosen.value
  const repairs: Repair[] = refused.map((each) => ({
    drift: driftId(each.drift),
    state: 'refused',
    failure: each.failure,
  }))
  const done = (drift: Drift, { ok, ...rest }: Outcome<unknown>) =>
    repairs.push({
      drift: driftId(drift),
      state: ok ? 'repaired' : 'failed',
      ...('failure' in rest && { failure: rest.failure }),
    })

  // First what all else hangs on.
  const [secret] = drifts.filter((each) => each.mend === 'secret')
  if (secret) done(secret, await writeSecretAgain(step, setup))
  const operator = drifts.filter((each) => each.mend === 'operator')
  if (operator.length > 0) {
    const mended = await mendOperator(step, setup)
    for (const each of operator) done(each, mended)
  }
  for (const each of drifts.filter(({ mend }) => changeOf(mend))) {
    const ready = await awaitCleanUp(step, setup, each)
    done(each, ready.ok ? await writeAgain(step, setup, { drift: each, request }) : ready)
  }
  const anew = drifts.filter((each) => each.mend === 'anew')
  if (anew.length > 0) {
    const moved = await moveAnew(step, options, anew)
    for (const each of anew) done(each, moved(each.subject))
  }
  const books = drifts.find((each) => each.mend === 'books')
  if (books || anew.length > 0) await writeBooks(step, setup)
  if (books) done(books, { ok: true, value: null })

  const repaired = drifts.filter((each) =>
    repairs.some(({ drift, state }) => state === 'repaired' && drift === driftId(each)),
  )
  const proven = await proveRepaired(step, setup, repaired)
  await lookAndTell(step, setup, 'afterwards')
  const failure = repairs.find((each) => each.failure)?.failure ?? (proven.ok ? undefined : proven.failure)
  return { state: failure ? 'failed' : 'completed', repairs, ...(failure && { failure }) }
}

export type RepairOptions = {
  setup: Setup
  request: string
  run: string
  /** A kind, or a kind and its subject, each; all that can be repaired without. */
  names?: string[] | undefined
}
export type Repair = { drift: string; state: 'repaired' | 'failed' | 'refused'; failure?: Failure }
export type RepairResult = { state: 'completed' | 'failed'; repairs: Repair[]; failure?: Failure }

/** What is there now and may be repaired; each claims one of its three repairs an hour. */
const choose = (step: Step, setup: Setup, names: string[] | undefined) =>
  tried(step, 'repair: choose', async () => {
    const work = await setup.work()
    const { drifts } = await lookForDrift(work)
    const wanted = drifts.filter((each) => each.mend !== undefined && (!names || isNamed(each, names)))
    const back = await driftRecord(work.journal).claimRepairs(wanted.map(driftId))
    return {
      drifts: wanted.filter((each) => !back.includes(driftId(each))),
      refused: wanted
        .filter((each) => back.includes(driftId(each)))
        .map((drift) => ({
          drift,
          failure: new OnehopError('drift-returns', { drift: driftId(drift), times: mostRepairs }).toJSON(),
        })),
    }
  })

async function mendOperator(step: Step, setup: Setup): Promise<Outcome<unknown>> {
  const looked = await tried(step, 'repair: deadline', async () => (await setup.mesh()).deadlines.operator)
  if (!looked.ok) return looked
  const applied = await applyOperator(step, setup)
  return applied.ok ? awaitOperator(step, setup, looked.value) : applied
}

/** Back to the old path, and moved again: the way of every move, with its proofs and its own rollback. */
async function moveAnew(step: Step, { setup, request, run }: RepairOptions, drifts: Drift[]) {
  const services = [...new Set(drifts.map((each) => each.subject))]
  const [first] = drifts
  const failure = new OnehopError('drifted', {
    drift: first ? driftId(first) : '',
    what: first?.what ?? '',
  }).toJSON()
  const backs = await rollback(step, { setup, request, run, services, failure })
  const ready = backs.filter(isBack).map((each) => each.service)
  const result = ready.length > 0 ? await migrate(step, { setup, request, run, services: ready }) : undefined
  const ends = result && 'services' in result ? result.services : []
  return (service: string): Outcome<unknown> => {
    const end = ends.find((each) => each.name === service)
    if (end?.state === 'moved') return { ok: true, value: null }
    const why =
      end?.failure ??
      backs.find((each) => each.service === service)?.failure ??
      (result && 'failure' in result ? result.failure : undefined) ??
      failure
    return { ok: false, failure: why }
  }
}

/**
 * What was repaired is as it was left, seen by the same look that found it: with nothing else of the same subject either,
 * since a device that is made anew is silent for some seconds. What could not be looked at is not proven.
 */
async function proveRepaired(step: Step, setup: Setup, drifts: Drift[]): Promise<Outcome<void>> {
  if (drifts.length === 0) return { ok: true, value: undefined }
  const subjects = new Set(drifts.map((each) => each.subject))
  return awaited(step, 'repair: prove', {
    seconds: 90,
    reach: true,
    look: async () => {
      const found = await lookForDrift(await setup.work())
      const [unread] = found.failures
      if (unread) throw fromFailure(unread)
      const left = [
        ...found.drifts.filter((each) => subjects.has(each.subject)).map(driftId),
        ...found.unseen
          .filter((each) => subjects.has(each.subject))
          .map(({ subject, why }) => `${subject}, not looked at: ${why}`),
      ]
      if (left.length > 0) throw new OnehopError('drift-remains', { drifts: left.join('; ') })
    },
  })
}
