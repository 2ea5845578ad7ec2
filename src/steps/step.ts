import pRetry from 'p-retry'
import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import { isSilence } from '../in-time.ts'
import type { Sent } from '../systems/engine.ts'

/**
 * What the workflows run over. A step's failure is an answer, not an exception: a coded error would lose its code at the
 * engine's border, and a proof that fails must go straight to rollback instead of being retried for minutes.
 * `createStep` makes one of the engine's step tools; `onehop rollback --local` runs the same workflows without an engine.
 */
export type Step = {
  /** Results go through JSON. */
  run<T>(id: string, work: () => Promise<T>, options?: StepOptions): Promise<Outcome<T>>
  sleep(id: string, milliseconds: number): Promise<void>
  sendEvent(id: string, event: Sent | Sent[]): Promise<unknown>
  /** Absent where nobody waits: then a system that is silent or away is waited for as long as the wait lasts. */
  patience?: Patience
}

/**
 * How long a person who can ask again waits: how often a silent system is asked once more before it is given up, and for how many
 * seconds one that cannot be reached is waited for. What answers, and only needs its time, has all of it.
 */
export type Patience = { silentRetries: number; unreachable: number }

/** `always`: also when the request was aborted (it undoes, or it only looks). `rest`: seconds of sleep that follow. */
export type StepOptions = { always?: boolean; rest?: number }
export type Outcome<T> = { ok: true; value: T } | { ok: false; failure: Failure }

/** The part of Inngest's step tools that is used. */
export type EngineStep = {
  run<T>(id: string, work: () => Promise<T>): Promise<T>
  sleep(id: string, milliseconds: number): Promise<void>
  sendEvent(id: string, event: Sent | Sent[]): Promise<unknown>
}

/** Around each step: says in the journal that the run lives, and refuses one that was aborted or given up. */
export type Attend = <T>(phase: string, options: StepOptions, work: () => Promise<T>) => Promise<T>

export const createStep = (engine: EngineStep, attend: Attend): Step => ({
  run: (id, work, options = {}) =>
    engine.run(id, async () => {
      try {
        return { ok: true as const, value: await attend(id, options, work) }
      } catch (thrown) {
        return { ok: false as const, failure: toOnehopError(thrown).toJSON() }
      }
    }),
  sleep: (id, milliseconds) => engine.sleep(id, milliseconds),
  sendEvent: (id, event) => engine.sendEvent(id, event),
})

/** Steps without an engine: here and now, and what would be told is told to nobody. */
export const localEngine: EngineStep = {
  run: (_, work) => work(),
  sleep: (_, milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  sendEvent: async () => undefined,
}

/** Steps right here. `report` is told by which step it is, and why one has failed: somebody reads that, and waits. */
export function createLocalStep(attend: Attend, report?: (line: string) => void): Step {
  if (!report) return createStep(localEngine, attend)
  const run: EngineStep['run'] = async (id, work) => {
    report(id)
    const result = await work()
    const { ok, failure } = (result ?? {}) as { ok?: boolean; failure?: Failure }
    if (ok === false && failure) report(`${id}: ${failure.message}  [${failure.code}]`)
    return result
  }
  return { ...createStep({ ...localEngine, run }, attend), patience: { silentRetries: 0, unreachable: 10 } }
}

/**
 * One step. A system that cannot be reached is tried again here, for about 10 s; a worker that dies is the engine's to
 * retry.
 */
export const tried = <T>(
  step: Step,
  id: string,
  work: () => Promise<T>,
  options?: StepOptions,
): Promise<Outcome<T>> => step.run(id, () => withPatience(work, step), options)

/**
 * Tries again what failed because a system could not be reached, or because somebody else wrote at the same moment, for 10 s
 * from the first failure on. A silent system has taken the deadline of a call by then: it is asked once more.
 */
export function withPatience<T>(
  work: () => Promise<T>,
  { patience: { silentRetries } = { silentRetries: 1 } }: { patience?: Pick<Patience, 'silentRetries'> } = {},
): Promise<T> {
  let [since, silences] = [Number.POSITIVE_INFINITY, 0]
  return pRetry(work, {
    retries: 4,
    minTimeout: 500,
    factor: 2,
    shouldRetry: ({ error }) => {
      if (!(error instanceof OnehopError) || error.kind !== 'system' || error.code === 'internal')
        return false
      since = Math.min(since, Date.now())
      if (isSilence(error)) silences++
      return silences <= silentRetries && Date.now() - since < 10_000
    },
  })
}

/**
 * Waits for something that takes a while: polls inside steps of at most 10 s, and sleeps in the engine in between, longer
 * each time, so that the wait survives a restart of the worker and stays within the engine's number of steps. A failure
 * that is not of kind proof ends the wait, unless `patient`; with `reach`, a system that is silent or cannot be reached is
 * waited for too, for as long as `step.patience` allows.
 */
export async function awaited<T>(
  step: Step,
  id: string,
  { seconds, look, patient = false, reach = false, always = false }: Wait<T>,
): Promise<Outcome<T>> {
  const { patience } = step
  const isGivenUp = ({ kind, silent }: Failure, waited: number) =>
    patience && (silent || (kind === 'system' && waited >= patience.unreachable))
  const hopeless = (failure: Failure, waited = 0) => {
    const { kind, code } = failure
    return (
      final.has(code) ||
      isGivenUp(failure, waited) ||
      (kind !== 'proof' && !patient && !(reach && kind === 'system' && code !== 'internal'))
    )
  }
  for (let waited = 0, round = 1; ; round++) {
    const rest = restAfter(round)
    const outcome = await step.run(
      round === 1 ? id : `${id} (${round})`,
      () => polled(look, { seconds: Math.min(chunk, seconds - waited), hopeless, step }),
      { always, rest },
    )
    waited += chunk + rest
    if (outcome.ok || hopeless(outcome.failure, waited) || waited >= seconds) return outcome
    await step.sleep(`${id}: wait (${round})`, rest * 1000)
  }
}

/** How many steps of the engine a wait of so many seconds takes at most. */
export function stepsOfWait(seconds: number): number {
  let [waited, round] = [0, 0]
  while (waited < seconds) waited += chunk + restAfter(++round)
  return 2 * round
}

type Wait<T> = {
  seconds: number
  look: () => Promise<T>
  patient?: boolean
  reach?: boolean
  always?: boolean
}

/** A step polls for at most so many seconds, so that a worker that dies repeats little. */
const chunk = 10
const restAfter = (round: number) => Math.min(30, Math.ceil(1.5 ** (round - 1)))

/** Failures that more waiting cannot mend. */
const final = new Set<string>([
  'name-not-given',
  'https-not-enabled',
  'backend-differs',
  'request-superseded',
  'request-aborted',
])

async function polled<T>(
  look: () => Promise<T>,
  {
    seconds,
    hopeless,
    step,
  }: { seconds: number; hopeless: (failure: Failure) => boolean | undefined; step: Step },
): Promise<T> {
  const until = Date.now() + seconds * 1000
  for (;;) {
    try {
      return await withPatience(look, step)
    } catch (thrown) {
      if (hopeless(toOnehopError(thrown).toJSON()) || Date.now() > until) throw thrown
    }
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}
