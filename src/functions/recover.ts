import type { EventPayload } from 'inngest'
import { OnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import { type Entry, isLive, isLost, type RequestRecord } from '../journal-records.ts'
import type { Setup } from '../setup.ts'
import { attending } from '../steps/attending.ts'
import { createLocalStep, type EngineStep } from '../steps/step.ts'
import type { RollbackOptions } from '../steps/undo-change.ts'
import { writeBooks } from '../steps/write-books.ts'
import type { Sent } from '../systems/engine.ts'
import { isBack, type RollbackResult, rollback } from './rollback.ts'

/** The Inngest function: what a run that was cancelled or broke has left is taken up at once, what was lost every minute. */
export async function recover(
  step: EngineStep,
  { setup, send, event }: { setup: Setup; send: Send; event: EventPayload },
): Promise<unknown> {
  const run = (event.data as { run_id?: unknown } | undefined)?.run_id
  return step.run('recover', async () => {
    if (typeof run === 'string') await giveUpRun(await setup.journal(), run)
    return recoverLost(setup, send)
  })
}

/**
 * Finds requests whose run has missed its deadline, and services that nobody carries on, and sees to it that each ends
 * moved or restored: asks the engine for it once, and does it right here when the engine cannot be asked or did not help.
 * Called by the function above, and by the worker itself at its start and every few seconds.
 */
export async function recoverLost(setup: Setup, send: Send): Promise<Recovered[]> {
  const [journal, { engine }] = await Promise.all([setup.journal(), setup.mesh()])
  const found = await journal.listRequests()
  const lost = found.filter(isLost)
  for (const record of lost) await endLost(journal, record)
  const records = lost.length > 0 ? await journal.listRequests() : found
  const requests = new Map(records.map((each) => [each.id, each]))
  const stranded = (await journal.list()).filter(
    (each) => isLive(each) && requests.get(each.request)?.state !== 'running',
  )
  const recovered = await Promise.all(
    stranded.map(async (entry): Promise<Recovered[]> => {
      const { service, attempt } = entry
      // A migration that only looked once more at what was moved takes nothing back when it is lost.
      if (await journal.stay(service, attempt))
        return [{ service, by: 'itself: it was moved and is as it was' }]
      const claim = await journal.claimRecovery(service, attempt, engine.patience)
      if (claim === undefined) return []
      const request = requests.get(entry.request)
      const ask =
        engine.lost === 'resume' && mayResume(entry, request) ? resumption(entry) : undoing(entry, request)
      const asked =
        claim === 1 &&
        (await send(ask).then(
          () => true,
          () => false,
        ))
      if (asked) return [{ service, by: ask.name }]
      const of = { failure: whyOf(entry, request), to: endOf(entry), behalf: entry.request }
      await rollbackHere(setup, { services: [service], attempt, ...of })
      return [{ service, by: 'the worker itself' }]
    }),
  )
  return recovered.flat()
}

/**
 * A rollback right here: no engine, and no worker either if it is called from the command line. `report` is told each step, by a
 * person who waits: then a silent system ends it.
 */
export async function rollbackHere(
  setup: Setup,
  { behalf, report, ...data }: Here,
): Promise<RollbackResult[]> {
  const [journal, { engine }] = await Promise.all([setup.journal(), setup.mesh()])
  const run = `local-${crypto.randomUUID()}`
  const request = behalf === undefined ? run : `${behalf}/${run}`
  const of = { request, run }
  const event = 'mesh/service.rollback.requested'
  await journal.beginRequest({ id: request, event, data, run }, engine.patience)
  const step = createLocalStep(attending(setup, of), report)
  const result = await rollback(step, { setup, ...of, ...data })
  await writeBooks(step, setup)
  const failure = result.find((each) => !isBack(each))?.failure
  await journal.endRequest(request, run, { state: failure ? 'failed' : 'completed', result, failure })
  return result
}

/** `behalf`: the request whose service it puts back, which may be run again after that. */
type Here = Pick<RollbackOptions, 'services' | 'attempt' | 'failure' | 'force' | 'to'> & {
  behalf?: string
  report?: (line: string) => void
}
export type Recovered = { service: string; by: string }
type Send = (event: Sent) => Promise<unknown>

/** Ends the request of a run that was cancelled or broke, so that none of its steps does anything more. */
async function giveUpRun(journal: Journal, run: string): Promise<void> {
  const record = (await journal.listRequests()).find((each) => each.run === run && each.state === 'running')
  if (!record) return
  const failure = new OnehopError('request-cancelled', { request: record.id }).toJSON()
  await journal.endRequest(record.id, run, { state: 'failed', result: null, failure })
}

async function endLost(
  journal: Journal,
  { id, run, phase = 'its start', deadline }: RequestRecord,
): Promise<void> {
  const failure = new OnehopError('run-lost', { request: id, phase, deadline }).toJSON()
  await journal.endRequest(id, run, { state: 'failed', result: null, failure })
}

/** A move is resumed once; a move that was already a resumption is rolled back, and so is what a person cancelled. */
const mayResume = (entry: Entry, request: RequestRecord | undefined) =>
  entry.state === 'exposing' && request?.failure?.code === 'run-lost' && !entry.request.endsWith('/resumed')

const resumption = ({ service, request }: Entry): Sent => ({
  id: `${request}/${service}/resumed`,
  name: 'mesh/service.expose.requested',
  data: { service },
})

const undoing = (entry: Entry, request: RequestRecord | undefined): Sent => {
  const { service, attempt, request: id } = entry
  const [to, failure] = [endOf(entry), whyOf(entry, request)]
  return {
    id: `${id}/${service}/${attempt}/recover`,
    name: 'mesh/service.rollback.requested',
    data: { service, attempt, ...(to && { to }), ...(failure && { failure }) },
  }
}

/** A retirement that nobody carries on ends where it began, also when what was lost is its rollback. */
const endOf = ({ state, to }: Entry) => (state === 'retiring' ? ('moved' as const) : to)

/** Why a service is put back: not that its rollback was lost too, where that has a reason of its own. */
const whyOf = (entry: Entry, request: RequestRecord | undefined) =>
  (entry.state === 'rolling-back' ? entry.failure : undefined) ?? request?.failure
