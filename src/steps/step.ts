import pRetry from 'p-retry'
import { type Failure, OnehopError, toOnehopError } from '../errors.ts'

/**
 * The part of Inngest's step tools that the workflows use. `onehop rollback --local` runs the same workflows over
 * `localStep`, with no engine at all.
 */
export type Step = {
  /** Results go through JSON. */
  run<T>(id: string, work: () => Promise<T>): Promise<T>
  sleep(id: string, milliseconds: number): Promise<void>
  sendEvent(id: string, event: { id?: string; name: string; data: Record<string, unknown> }): Promise<unknown>
}

export const localStep: Step = {
  run: (_, work) => work(),
  sleep: (_, milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  sendEvent: async () => undefined,
}

export type Outcome<T> = { ok: true; value: T } | { ok: false; failure: Failure }

/**
 * One step whose failure is an answer, not an exception: a coded error would lose its code at the engine's border, and
 * a proof that fails must go straight to rollback instead of being retried for minutes. A system that cannot be
 * reached is tried again here, for about 10 s; a worker that dies is the engine's to retry.
 */
export function tried<T>(step: Step, id: string, work: () => Promise<T>): Promise<Outcome<T>> {
  return step.run(id, async (): Promise<Outcome<T>> => {
    try {
      return { ok: true, value: await withPatience(work) }
    } catch (thrown) {
      return { ok: false, failure: toOnehopError(thrown).toJSON() }
    }
  })
}

/** Tries again what failed because a system could not be reached. */
export function withPatience<T>(work: () => Promise<T>): Promise<T> {
  const transient = (thrown: unknown) =>
    thrown instanceof OnehopError && thrown.kind === 'system' && thrown.code !== 'internal'
  return pRetry(work, {
    retries: 4,
    minTimeout: 500,
    factor: 2,
    shouldRetry: ({ error }) => transient(error),
  })
}

/**
 * Waits for something that takes a while: polls inside steps of at most 10 s, and sleeps in the engine in between, so
 * that the wait survives a restart of the worker. A failure that is not of kind proof ends the wait, unless `patient`;
 * with `reach`, a system that cannot be reached is waited for too.
 */
export async function awaited<T>(
  step: Step,
  id: string,
  { seconds, look, patient = false, reach = false }: Wait<T>,
): Promise<Outcome<T>> {
  const hopeless = ({ kind, code }: Failure) =>
    final.has(code) || (kind !== 'proof' && !patient && !(reach && kind === 'system' && code !== 'internal'))
  for (let waited = 0, round = 1; ; waited += chunk + 1, round++) {
    const outcome = await step.run(round === 1 ? id : `${id} (${round})`, () =>
      polled(look, Math.min(chunk, seconds - waited), hopeless),
    )
    if (outcome.ok || hopeless(outcome.failure) || waited + chunk + 1 >= seconds) return outcome
    await step.sleep(`${id}: wait (${round})`, 1000)
  }
}

type Wait<T> = { seconds: number; look: () => Promise<T>; patient?: boolean; reach?: boolean }

/** A step polls for at most so many seconds. */
const chunk = 10

/** Proofs that more waiting cannot mend. */
const final = new Set<string>(['name-not-given', 'backend-differs'])

async function polled<T>(
  look: () => Promise<T>,
  seconds: number,
  hopeless: (failure: Failure) => boolean,
): Promise<Outcome<T>> {
  const until = Date.now() + seconds * 1000
  for (;;) {
    try {
      return { ok: true, value: await withPatience(look) }
    } catch (thrown) {
      const failure = toOnehopError(thrown).toJSON()
      if (hopeless(failure) || Date.now() > until) return { ok: false, failure }
    }
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}
