import { type EventPayload, NonRetriableError } from 'inngest'
import type { z } from 'zod'
import { type EventName, events } from '../../inngest.config.ts'
import { type Failure, fromFailure, OnehopError, toOnehopError } from '../errors.ts'
import type { RequestRecord } from '../journal-records.ts'
import { eventId } from '../names.ts'
import { problemsOf } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import { attending } from '../steps/attending.ts'
import { createStep, type EngineStep, type Step, withPatience } from '../steps/step.ts'

/**
 * The envelope around each workflow: bad input is refused before anything is touched, a request that has ended gives its
 * outcome again and changes nothing, one that lives in another run is refused, and how it ended is remembered.
 */
export async function requested<Name extends RequestName>(
  context: Context,
  setup: Setup,
  name: Name,
  work: (step: Step, data: z.output<(typeof events)[Name]>, of: Of) => Promise<Ended>,
): Promise<unknown> {
  const engine = context.step as EngineStep
  const data = context.event.data ?? {}
  const of = { request: context.event.id ?? context.runId, run: context.runId }
  // Not recorded as a refused request: a record would carry the id on.
  const id = eventId.safeParse(of.request)
  if (!id.success)
    throw brokenOff(
      new OnehopError('event-invalid', { event: name, problems: `id: ${problemsOf(id.error)}` }).toJSON(),
    )
  const parsed = events[name].safeParse(data)
  const begun = await createStep(engine, (_, __, begin) => withPatience(begin)).run('request', async () => {
    const { engine } = await setup.mesh()
    const journal = await setup.journal()
    const record = { id: of.request, event: name, data, run: of.run }
    const earlier = await journal.readRequest(of.request)
    if (!parsed.success && earlier?.state !== 'completed') {
      const refusal = new OnehopError('event-invalid', { event: name, problems: problemsOf(parsed.error) })
      await journal.refuseRequest({ ...record, failure: refusal.toJSON() })
      throw refusal
    }
    // A journal that this onehop cannot read as a whole is no ground to change anything on.
    await journal.list().catch(async (thrown: unknown) => {
      const refusal = toOnehopError(thrown)
      if (refusal.kind === 'refused') await journal.refuseRequest({ ...record, failure: refusal.toJSON() })
      throw thrown
    })
    const completed = await journal.beginRequest(record, engine.patience)
    return { completed: completed !== undefined, result: completed?.result }
  })
  if (!begun.ok) throw brokenOff(begun.failure)
  if (begun.value.completed || !parsed.success) return begun.value.result
  return carryOut(engine, setup, of, (step) => work(step, parsed.data as z.output<(typeof events)[Name]>, of))
}

/** Runs a workflow whose request was taken up, and remembers how it ended. */
export async function carryOut(
  engine: EngineStep,
  setup: Setup,
  of: Of,
  work: (step: Step) => Promise<Ended>,
): Promise<unknown> {
  const ended = await work(createStep(engine, attending(setup, of))).catch(brokeOff)
  if (ended.state === 'continued') return ended.result
  const { state, result, failure } = ended
  await engine.run('remember', async () => {
    await (await setup.journal()).endRequest(of.request, of.run, { state, result, failure })
    return null
  })
  // The run is red in the dashboard when the request is; it is never retried, since the outcome stands.
  if (ended.failure) throw brokenOff(ended.failure)
  return ended.result
}

/** The data of an event that is no request. @throws NonRetriableError with event-invalid as its cause */
export function expectEvent<Name extends EventName>(
  name: Name,
  data: unknown,
): z.output<(typeof events)[Name]> {
  const parsed = events[name].safeParse(data)
  if (parsed.success) return parsed.data as z.output<(typeof events)[Name]>
  const problems = problemsOf(parsed.error).slice(0, 1000)
  throw brokenOff(new OnehopError('event-invalid', { event: name, problems }).toJSON())
}

/** `request` is the event's id, `run` the engine's id of the run that has it now. */
export type Of = { request: string; run: string }
export type Ended = {
  state: Exclude<RequestRecord['state'], 'running'> | 'continued'
  result: unknown
  failure?: Failure | undefined
}
export type RequestName = Extract<keyof typeof events, `${string}.requested`>
/** What a handler gets from Inngest, as far as it is used. */
export type Context = { event: EventPayload; runId: string; step: unknown }

/** A workflow that broke, against all intent, still ends its request: who follows it must not wait for ever. */
const brokeOff = (thrown: unknown): Ended => ({
  state: 'failed',
  result: null,
  failure: toOnehopError(thrown).toJSON(),
})

export const brokenOff = (failure: Failure) =>
  new NonRetriableError(`${failure.message} [${failure.code}]`, { cause: fromFailure(failure) })
