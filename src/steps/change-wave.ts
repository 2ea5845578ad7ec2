import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import type { ChangeRecord } from '../journal-records.ts'
import type { ClusterService } from '../plan/mesh.ts'
import type { Work } from '../setup.ts'
import type { Systems } from '../systems/systems.ts'
import { type Attempt, guardedTogether, type Moving, serviceOf } from './attempt.ts'
import { type Step, tried, withPatience } from './step.ts'

/** A change that the services of a wave share, because what it edits is one file: each owns its tokens in it. */
export type SharedChange<State> = {
  id: Exclude<ChangeRecord['id'], 'expose'>
  /** What is there now and what it should become; nothing if this service has no part in it. */
  read(work: Work, service: ClusterService): Promise<Pair<State> | undefined>
  /** The record of a service that is moved again, with what is written now and was not then: an undo takes out both. */
  extended?(earlier: State, now: State): State | undefined
  /** All of them in one edit. */
  write(systems: Systems, pairs: Pair<State>[]): Promise<unknown>
}
export type Pair<State> = { before: State; target: State }

/** Makes a shared change for every service of the wave that has come so far: recorded for each, applied once for all. */
export async function changeWave<State>(
  step: Step,
  { setup }: Moving,
  { wave, attempts, change }: { wave: string; attempts: Attempt[]; change: SharedChange<State> },
): Promise<Attempt[]> {
  const ready = attempts.filter((each) => !each.failure)
  if (ready.length === 0) return attempts
  const recording = await step.run(`${wave}/${change.id}: record`, () =>
    Promise.all(
      ready.map(async ({ name, attempt = 0 }): Promise<Recorded> => {
        try {
          const { service, ...work } = await serviceOf(setup, name)
          const pair = await withPatience(() => change.read(work, service))
          if (pair) await record(work.journal, name, attempt, pair)
          return { name, changes: pair !== undefined }
        } catch (thrown) {
          return { name, changes: false, failure: toOnehopError(thrown).toJSON() }
        }
      }),
    ),
  )
  if (!recording.ok) return attempts.map((each) => ({ ...each, failure: each.failure ?? recording.failure }))
  const recorded = recording.value
  const changed = ready.filter(({ name }) => recorded.some((each) => each.name === name && each.changes))
  const applied = await tried(step, `${wave}/${change.id}: apply`, async () => {
    const { systems, journal } = await setup.work()
    return guardedTogether(journal, changed, async (entries) => {
      const pairs = entries.map((entry) => {
        const record = entry.changes.find((each) => each.id === change.id)
        return { before: record?.before as State, target: record?.target as State }
      })
      await change.write(systems, pairs)
    })
  })
  return attempts.map((each) => {
    const failure =
      each.failure ?? recorded.find(({ name }) => name === each.name)?.failure ?? applyFailure(each)
    return failure ? { ...each, failure } : each
  })

  async function record(journal: Journal, name: string, attempt: number, { before, target }: Pair<State>) {
    const { id, extended } = change
    const mine: ChangeRecord = { id, before, target, undone: false }
    const kept = await journal.record(name, attempt, mine)
    if (kept !== mine && extended)
      await journal.extend(name, attempt, id, (earlier) => extended(earlier as State, target))
  }

  function applyFailure({ name, attempt = 0 }: Attempt): Failure | undefined {
    if (!changed.some((each) => each.name === name)) return undefined
    if (!applied.ok) return applied.failure
    if (!applied.value.includes(name)) return undefined
    return new OnehopError('attempt-superseded', { service: name, attempt, current: 'a later one' }).toJSON()
  }
}

type Recorded = { name: string; changes: boolean; failure?: Failure }
