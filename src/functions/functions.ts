import { type EventPayload, type Inngest, NonRetriableError } from 'inngest'
import type { z } from 'zod'
import { appId, events } from '../../inngest.config.ts'
import { type Failure, fromFailure, OnehopError, toOnehopError } from '../errors.ts'
import { createJournal, type RequestRecord } from '../journal.ts'
import { loadMesh, loadWork } from '../load-mesh.ts'
import { problemsOf } from '../plan/mesh.ts'
import { type Step, tried } from '../steps/step.ts'
import { installOperator } from './install-operator.ts'
import { type MigrationResult, migrate } from './migrate.ts'
import { rollback } from './rollback.ts'

/**
 * The Inngest functions. Each is one of the workflows with a request around it: bad input is refused before anything is
 * touched, a request that has ended gives its outcome again and changes nothing, and how it ended is told as an event.
 */
export function createFunctions(client: Inngest, meshFile: string) {
  return [
    client.createFunction({ id: 'migrate', triggers: { event: 'mesh/migration.requested' } }, (context) =>
      requested(context, meshFile, 'mesh/migration.requested', async (step, { services }, of) =>
        endMigration(step, of, await migrate(step, { meshFile, services, ...of })),
      ),
    ),
    client.createFunction(
      { id: 'expose-service', triggers: { event: 'mesh/service.expose.requested' } },
      (context) =>
        requested(context, meshFile, 'mesh/service.expose.requested', async (step, { service }, of) =>
          endMigration(step, of, await migrate(step, { meshFile, services: [service], ...of })),
        ),
    ),
    client.createFunction(
      { id: 'rollback-service', triggers: { event: 'mesh/service.rollback.requested' } },
      (context) =>
        requested(
          context,
          meshFile,
          'mesh/service.rollback.requested',
          async (step, { service, attempt, failure }, of) => {
            const result = await rollback(step, {
              meshFile,
              service,
              attempt,
              failure: failure as Failure | undefined,
              ...of,
            })
            const name =
              result.state === 'restored' ? 'mesh/service.rolled-back' : 'mesh/service.rollback.failed'
            await step.sendEvent('tell', { name, data: { ...of, ...result } })
            return {
              state: result.state === 'restored' ? 'completed' : 'failed',
              result,
              failure: result.state === 'restored' ? undefined : result.failure,
            }
          },
        ),
    ),
    client.createFunction(
      { id: 'install-operator', triggers: { event: 'mesh/operator.install.requested' } },
      (context) =>
        requested(context, meshFile, 'mesh/operator.install.requested', async (step, _, of) => {
          const result = await installOperator(step, { meshFile })
          const failure = result.state === 'failed' ? result.failure : undefined
          await step.sendEvent('tell', {
            name: `mesh/operator.install.${failure ? 'failed' : 'completed'}`,
            data: { ...of, ...result },
          })
          return { state: failure ? 'failed' : 'completed', result, failure }
        }),
    ),
    recoverCancelled(client, meshFile),
  ]
}

type Of = { request: string; run: string }
type Ended = { state: 'completed' | 'failed' | 'refused'; result: unknown; failure?: Failure | undefined }
type RequestName = Extract<keyof typeof events, `${string}.requested`>
/** What a handler gets from Inngest, as far as we use it. */
type Context = { event: EventPayload; runId: string; step: unknown }

/** The envelope around each workflow: refuse, remember, run, remember. */
async function requested<Name extends RequestName>(
  context: Context,
  meshFile: string,
  name: Name,
  work: (step: Step, data: z.output<(typeof events)[Name]>, of: Of) => Promise<Ended>,
): Promise<unknown> {
  const step = context.step as Step
  const of = { request: context.event.id ?? context.runId, run: context.runId }
  const parsed = events[name].safeParse(context.event.data ?? {})
  const begun = await tried(step, 'request', async () => {
    const { state } = await loadMesh(meshFile)
    const journal = createJournal(state)
    const earlier = await journal.readRequest(of.request)
    if (earlier?.state === 'completed') return earlier
    if (!parsed.success)
      throw new OnehopError('event-invalid', { event: name, problems: problemsOf(parsed.error) })
    await journal.saveRequest({ id: of.request, event: name, run: of.run, state: 'running' })
    return undefined
  })
  if (begun.ok && begun.value) return begun.value.result
  const ended: Ended =
    begun.ok && parsed.success
      ? await work(step, parsed.data as z.output<(typeof events)[Name]>, of).catch(brokeOff)
      : { state: 'refused', result: null, ...(!begun.ok && { failure: begun.failure }) }
  await step.run('remember', () => remember(meshFile, { id: of.request, event: name, run: of.run, ...ended }))
  // The run is red in the dashboard when the request is; it is never retried, since the outcome stands.
  if (ended.failure)
    throw new NonRetriableError(`${ended.failure.message} [${ended.failure.code}]`, {
      cause: fromFailure(ended.failure),
    })
  return ended.result
}

/** A workflow that broke, against all intent, still ends its request: who follows it must not wait for ever. */
const brokeOff = (thrown: unknown): Ended => ({
  state: 'failed',
  result: null,
  failure: toOnehopError(thrown).toJSON(),
})

/** A mesh.yaml that cannot be read has no state folder to remember in: then the run alone tells. */
async function remember(
  meshFile: string,
  { failure, ...record }: Omit<RequestRecord, 'failure'> & { failure?: Failure | undefined },
): Promise<null> {
  const mesh = await loadMesh(meshFile).catch(() => undefined)
  if (mesh) await createJournal(mesh.state).saveRequest({ ...record, ...(failure && { failure }) })
  return null
}

async function endMigration(step: Step, of: Of, result: MigrationResult): Promise<Ended> {
  for (const each of result.services) {
    const name = each.state === 'moved' ? 'mesh/service.expose.completed' : 'mesh/service.expose.failed'
    await step.sendEvent(`tell: ${each.name}`, { name, data: { ...of, service: each.name, ...each } })
  }
  const name = result.state === 'completed' ? 'mesh/migration.completed' : 'mesh/migration.failed'
  await step.sendEvent('tell', { name, data: { ...of, ...result } })
  const failure =
    result.state === 'refused' ? result.failure : result.services.find((each) => each.failure)?.failure
  return { state: result.state, result, failure }
}

/** Inngest runs no catch block when a run is cancelled or a handler breaks: what it left in the journal is rolled back from here. */
function recoverCancelled(client: Inngest, meshFile: string) {
  const ours = (id: string) => `event.data.function_id == '${appId}-${id}'`
  const moving = `${ours('migrate')} || ${ours('expose-service')}`
  const triggers: [{ event: string; if: string }, { event: string; if: string }] = [
    { event: 'inngest/function.cancelled', if: moving },
    { event: 'inngest/function.failed', if: moving },
  ]
  return client.createFunction({ id: 'recover', triggers }, async (context) => {
    const step = context.step as unknown as Step
    const run = String((context.event.data as { run_id?: unknown }).run_id)
    const origin = (context.event.data as { event?: { id?: string } }).event?.id
    const left = await step.run('look', async () => {
      const { journal } = await loadWork(meshFile)
      const request = origin === undefined ? undefined : await journal.readRequest(origin)
      if (request?.run === run && request.state === 'running') {
        const failure = new OnehopError('request-cancelled', { request: request.id }).toJSON()
        await journal.saveRequest({ ...request, state: 'failed', failure })
      }
      return (await journal.list()).filter((each) => each.run === run && each.state === 'exposing')
    })
    for (const { service, attempt, request } of left)
      await step.sendEvent(`${service}: request rollback`, {
        id: `${request}/${service}/${attempt}/recover`,
        name: 'mesh/service.rollback.requested',
        data: { service, attempt },
      })
    return left.map((each) => each.service)
  })
}
