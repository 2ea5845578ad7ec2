import type { Failure } from '../errors.ts'
import type { Setup } from '../setup.ts'
import { narrowPolicy } from '../steps/narrow-policy.ts'
import { createStep, type EngineStep, type Step, tried, withPatience } from '../steps/step.ts'
import { touchedServices } from '../steps/undo-change.ts'
import { writeBooks } from '../steps/write-books.ts'
import type { Sent } from '../systems/engine.ts'
import { abort } from './abort.ts'
import { checkDrift } from './check-drift.ts'
import { installOperator } from './install-operator.ts'
import { type MigrationResult, migrate } from './migrate.ts'
import { noteProbe } from './note-probe.ts'
import { recover } from './recover.ts'
import { type RemovalResult, removeOperator } from './remove-operator.ts'
import { repairDrift } from './repair-drift.ts'
import {
  brokenOff,
  type Context,
  carryOut,
  type Ended,
  expectEvent,
  type Of,
  requested,
} from './requested.ts'
import { type RetireResult, retire } from './retire.ts'
import { forceAction, isBack, type RollbackResult, redeemForce, rollback } from './rollback.ts'

/**
 * Every workflow with what starts it. `send` gives an event to the engine from outside a run; `cron` is when to look for
 * drift. Inngest functions are made of these by `createFunctions`; a test can run the same ones over an engine of its own.
 */
export function createWorkflows(setup: Setup, send: Send, { cron = driftCron() } = {}): Workflow[] {
  const exposing = (context: Context) =>
    requested(context, setup, 'mesh/service.expose.requested', async (step, { service }, of) =>
      endMigration(setup, step, of, await migrate(step, { setup, services: [service], ...of })),
    )
  const migrating = (context: Context) =>
    requested(context, setup, 'mesh/migration.requested', async (step, { services, plan }, of) =>
      endMigration(setup, step, of, await migrate(step, { setup, services, plan, ...of })),
    )
  return [
    {
      id: 'migrate',
      triggers: [{ event: 'mesh/migration.requested' }, { event: 'mesh/migration.continued' }],
      run: (context) =>
        context.event.name === 'mesh/migration.continued' ? goOn(context, setup) : migrating(context),
    },
    { id: 'expose-service', triggers: [{ event: 'mesh/service.expose.requested' }], run: exposing },
    {
      id: 'rollback-service',
      triggers: [{ event: 'mesh/service.rollback.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/service.rollback.requested', async (step, data, of) => {
          const { service, attempt, to } = data
          const failure = data.failure as Failure | undefined
          const forced = await redeemForce(step, setup, { ...data, action: forceAction('rollback', service) })
          const [result = { service, state: 'refused' as const }] = forced.ok
            ? await rollback(attempt === undefined ? inPerson(step) : step, {
                setup,
                ...of,
                services: [service],
                attempt,
                failure,
                to,
                force: forced.value,
              })
            : [{ service, state: 'refused' as const, failure: forced.failure }]
          return endRollback(setup, step, of, [result], result)
        }),
    },
    {
      id: 'rollback-all',
      triggers: [{ event: 'mesh/rollback.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/rollback.requested', async (step, data, of) => {
          const touched = await touchedServices(step, setup, data.services)
          if (!touched.ok) return { state: 'failed', result: null, failure: touched.failure }
          const results = await rollback(inPerson(step), { setup, ...of, services: touched.value })
          if (!data.operator || !results.every(isBack)) return endRollback(setup, step, of, results, results)
          const removal = await endRemoval(step, of, await removeOperator(inPerson(step), { setup, ...of }))
          const ended = await endRollback(setup, step, of, results, {
            services: results,
            operator: removal.result,
          })
          return removal.failure ? { ...ended, state: 'failed', failure: removal.failure } : ended
        }),
    },
    {
      id: 'retire-service',
      triggers: [{ event: 'mesh/service.retire.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/service.retire.requested', async (step, data, of) => {
          const { service } = data
          const forced = await redeemForce(step, setup, { ...data, action: forceAction('retire', service) })
          const result: RetireResult = forced.ok
            ? await retire(step, { setup, ...of, service, forced: forced.value })
            : { service, state: 'refused', notes: [], failure: forced.failure }
          await writeBooks(step, setup)
          const name = result.state === 'retired' ? 'mesh/service.retired' : 'mesh/service.retire.failed'
          await step.sendEvent('tell', { name, data: { ...of, ...result } })
          return { state: result.failure ? 'failed' : 'completed', result, failure: result.failure }
        }),
    },
    {
      id: 'install-operator',
      triggers: [{ event: 'mesh/operator.install.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/operator.install.requested', async (step, _, of) => {
          const result = await installOperator(step, { setup })
          const failure = result.state === 'failed' ? result.failure : undefined
          const name = `mesh/operator.install.${failure ? 'failed' : 'completed'}`
          await step.sendEvent('tell', { name, data: { ...of, ...result } })
          return { state: failure ? 'failed' : 'completed', result, failure }
        }),
    },
    {
      id: 'remove-operator',
      triggers: [{ event: 'mesh/operator.remove.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/operator.remove.requested', async (step, _, of) =>
          endRemoval(step, of, await removeOperator(inPerson(step), { setup, ...of })),
        ),
    },
    {
      id: 'narrow-policy',
      triggers: [{ event: 'mesh/policy.narrow.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/policy.narrow.requested', async (step, _, of) => {
          const narrowed = await tried(step, 'policy: narrow', async () => {
            const { until, added } = await narrowPolicy(await setup.work(), of.request)
            return { until, added }
          })
          const failure = narrowed.ok ? undefined : narrowed.failure
          const result = narrowed.ok ? narrowed.value : null
          const name = `mesh/policy.narrow.${failure ? 'failed' : 'completed'}`
          await step.sendEvent('tell', { name, data: { ...of, ...(result ?? { failure }) } })
          return { state: failure ? 'failed' : 'completed', result, failure }
        }),
    },
    {
      id: 'abort-migration',
      triggers: [{ event: 'mesh/migration.abort.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/migration.abort.requested', (step, data) =>
          abort(step, { setup, ...data }),
        ),
    },
    {
      id: 'check-drift',
      triggers: [{ event: 'mesh/drift.check.requested' }, { cron }],
      run: (context) =>
        context.event.name === 'mesh/drift.check.requested'
          ? requested(context, setup, 'mesh/drift.check.requested', async (step, _, of) => {
              const result = await checkDrift(step, { setup, ...of })
              const failure = result.state === 'failed' ? result.failure : undefined
              return { state: failure ? 'failed' : 'completed', result, failure }
            })
          : // Not a request: a record of each look would fill the state folder.
            checkDrift(
              createStep(context.step as EngineStep, (_, __, look) => look()),
              { setup, request: context.runId },
            ),
    },
    {
      id: 'repair-drift',
      triggers: [{ event: 'mesh/drift.repair.requested' }],
      run: (context) =>
        requested(context, setup, 'mesh/drift.repair.requested', async (step, { drifts: names }, of) => {
          const result = await repairDrift(step, { setup, ...of, names })
          const { failure } = result
          const name = `mesh/drift.repair.${failure ? 'failed' : 'completed'}`
          await step.sendEvent('tell', { name, data: { ...of, ...result } })
          return { state: failure ? 'failed' : 'completed', result, failure }
        }),
    },
    {
      id: 'note-probe',
      triggers: [{ event: 'mesh/path.probed' }],
      run: (context) => noteProbe(context, setup),
    },
    {
      id: 'recover',
      // Inngest runs no catch block when a run is cancelled or a handler breaks; and lost runs make no event at all.
      triggers: [
        { event: 'inngest/function.cancelled' },
        { event: 'inngest/function.failed' },
        { cron: '* * * * *' },
      ],
      run: ({ event, step }) => recover(step as EngineStep, { setup, send, event }),
    },
  ]
}

/** A person has asked for it, and follows it. What a failed migration asks for by itself waits for as long as it may take. */
const inPerson = (step: Step): Step => ({
  ...step,
  patience: { silentRetries: 1, unreachable: Number.POSITIVE_INFINITY },
})

/** The engine's words for a schedule, in the zone that mesh.yaml names. */
export const driftCron = ({
  cron = '*/15 * * * *',
  zone,
}: {
  cron?: string
  zone?: string | undefined
} = {}) => (zone === undefined ? cron : `TZ=${zone} ${cron}`)

export type Workflow = { id: string; triggers: Trigger[]; run: (context: Context) => Promise<unknown> }
export type Trigger = { event: string } | { cron: string }
export type Send = (event: Sent) => Promise<unknown>

/** The rest of a long migration: the same request, in a run of its own. */
async function goOn(context: Context, setup: Setup): Promise<unknown> {
  const engine = context.step as EngineStep
  const { request, run, services, done } = expectEvent('mesh/migration.continued', context.event.data)
  const of = { request, run: context.runId }
  const taken = await createStep(engine, (_, __, take) => withPatience(take)).run('take over', async () => {
    const { patience } = (await setup.mesh()).engine
    await (await setup.journal()).passRequest(request, { from: run, run: of.run }, patience)
    return null
  })
  // One of a request that has ended cannot be run again by itself: the request's first run can.
  if (!taken.ok) throw brokenOff(taken.failure)
  return carryOut(engine, setup, of, async (step) =>
    endMigration(
      setup,
      step,
      of,
      await migrate(step, { setup, services, done: done as MigrationResult['services'], ...of }),
    ),
  )
}

async function endRollback(
  setup: Setup,
  step: Step,
  of: Of,
  results: RollbackResult[],
  result: unknown,
): Promise<Ended> {
  await writeBooks(step, setup)
  for (const each of results) {
    const name = isBack(each) ? 'mesh/service.rolled-back' : 'mesh/service.rollback.failed'
    await step.sendEvent(`tell: ${each.service}`, { name, data: { ...of, ...each } })
  }
  const failed = results.find((each) => !isBack(each))
  return { state: failed ? 'failed' : 'completed', result, failure: failed?.failure }
}

async function endRemoval(step: Step, of: Of, result: RemovalResult): Promise<Ended> {
  const failure = result.state === 'failed' ? result.failure : undefined
  const name = `mesh/operator.remove.${failure ? 'failed' : 'completed'}`
  await step.sendEvent('tell', { name, data: { ...of, ...result } })
  return { state: failure ? 'failed' : 'completed', result, failure }
}

async function endMigration(setup: Setup, step: Step, of: Of, result: MigrationResult): Promise<Ended> {
  if (result.state === 'continued') return { state: 'continued', result }
  // A run that was given up has no word in how its request ended: a rerun from a middle step is one, too.
  const superseded = result.services.find((each) => each.failure?.code === 'request-superseded')
  if (superseded) return { state: 'failed', result, failure: superseded.failure }
  await writeBooks(step, setup)
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
