import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import type { Entry, State } from '../journal-records.ts'
import { selectServices } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import type { Proof } from './prove-path.ts'
import { type Step, tried } from './step.ts'

/** A service on its way; `attempt` is absent if it was refused before anything was written down. */
export type Attempt = { name: string; attempt?: number; proof?: Proof; failure?: Failure }
export type Moving = { setup: Setup; request: string; run: string }

/** Everything that a step about one service works with, as mesh.yaml is now. */
export async function serviceOf(setup: Setup, name: string) {
  const work = await setup.work()
  const [service] = selectServices(work.mesh, [name])
  if (!service) throw new OnehopError('service-unknown', { service: name, known: '' })
  return { ...work, service }
}

/**
 * Holds the locks of several services, always in the same order, while one file changes for all of them. A service that
 * was taken over meanwhile is left out, and its name given back: its siblings go on without it.
 */
export async function guardedTogether(
  journal: Journal,
  attempts: Array<{ name: string; attempt?: number }>,
  work: (entries: Entry[]) => Promise<void>,
): Promise<string[]> {
  const ordered = attempts.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const entries: Entry[] = []
  const superseded: string[] = []
  const locked = async ([first, ...others]: typeof ordered): Promise<string[]> => {
    if (!first) {
      if (entries.length > 0) await work(entries)
      return superseded
    }
    let held = false
    return journal
      .guarded(first.name, first.attempt ?? 0, (entry) => {
        held = true
        entries.push(entry)
        return locked(others)
      })
      .catch((thrown: unknown) => {
        if (held || toOnehopError(thrown).code !== 'attempt-superseded') throw thrown
        superseded.push(first.name)
        return locked(others)
      })
  }
  return locked(ordered)
}

/** Writes down how an attempt ended. */
export function endAttempt(step: Step, setup: Setup, { id, name, attempt, state, failure, always }: Ending) {
  const work = async () => {
    await (await setup.journal()).end(name, attempt, { state, failure })
  }
  return tried(step, id, work, { always: always ?? false })
}

type Ending = {
  id: string
  name: string
  attempt: number
  state: State
  failure?: Failure | undefined
  always?: boolean
}
