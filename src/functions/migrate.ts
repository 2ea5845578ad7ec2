import { type Failure, OnehopError } from '../errors.ts'
import { selectServices } from '../plan/mesh.ts'
import { wavesOf } from '../plan/plan.ts'
import { allowService } from '../steps/allow-service.ts'
import { type Attempt, endAttempt, type Moving } from '../steps/attempt.ts'
import { changeWave } from '../steps/change-wave.ts'
import { mostSteps, stepsOfOperator, stepsOfWave } from '../steps/count-steps.ts'
import { expectPlan } from '../steps/expect-plan.ts'
import { exposeService } from '../steps/expose-service.ts'
import { preflightWave } from '../steps/preflight-wave.ts'
import { soakWave } from '../steps/soak.ts'
import { type Step, tried } from '../steps/step.ts'
import { switchChange } from '../steps/switch-caddy-routes.ts'
import { awaitRollbacks } from '../steps/undo-change.ts'
import { installOperator } from './install-operator.ts'
import { requestRollback } from './rollback.ts'

/**
 * Moves services, wave by wave: allow, expose, prove, switch, soak. One failure is one service's: it is rolled back alone.
 * Read it top down; every step can be run again, and a request that has ended changes nothing. A migration that would
 * come near the engine's limit of steps goes on in another run, at a wave's border.
 */
export async function migrate(
  step: Step,
  { setup, request, run, services, plan: expected, done = [] }: MigrateOptions,
): Promise<MigrationResult> {
  const plan = await tried(step, 'plan', async () => {
    if (expected !== undefined) await expectPlan(setup, { services, plan: expected })
    const mesh = await setup.mesh()
    // What is retired has no old path to move from; asked for by name it is refused, with the reason.
    const retired = new Set(
      (await (await setup.journal()).list()).flatMap((each) =>
        each.state === 'retired' ? [each.service] : [],
      ),
    )
    const wanted = selectServices(mesh, services).filter((each) => services || !retired.has(each.name))
    return wavesOf(wanted).map((wave) => ({
      names: wave.map((each) => each.name),
      steps: stepsOfWave(mesh, wave),
    }))
  })
  const moving: Moving = { setup, request, run }
  const refused = async (failure: Failure): Promise<MigrationResult> => ({
    state: 'refused',
    failure,
    services: await takeBackIfAborted(step, moving, done),
  })
  if (!plan.ok) return refused(plan.failure)
  const operator = await installOperator(step, { setup, proven: done.length > 0 })
  if (operator.state === 'failed') return refused(operator.failure)

  const results = [...done]
  let steps = stepsOfOperator
  for (const [index, { names, steps: more }] of plan.value.entries()) {
    if (index > 0 && steps + more > mostSteps) {
      const rest = plan.value.slice(index).flatMap((wave) => wave.names)
      await goOn(step, moving, { services: rest, done: results })
      return { state: 'continued', services: results }
    }
    steps += more
    const wave = `wave ${index + 1}`
    const attempts = await preflightWave(step, moving, { wave, names })
    const allowed = await changeWave(step, moving, { wave, attempts, change: allowService })
    const exposed = await Promise.all(
      allowed.map((each) => (each.failure ? each : exposeService(step, moving, each))),
    )
    const switched = await changeWave(step, moving, { wave, attempts: exposed, change: switchChange })
    const soaked = await soakWave(step, moving, { wave, attempts: switched })
    results.push(...(await settleWave(step, moving, { wave, attempts: soaked })))
  }
  return ended(await takeBackIfAborted(step, moving, results))
}

export type MigrateOptions = Moving & {
  services?: string[] | undefined
  /** The hash of the plan that was looked at: it is refused if the world has moved since. */
  plan?: string | undefined
  /** What earlier runs of the same request have ended with. */
  done?: ServiceResult[] | undefined
}
export type MigrationResult =
  | { state: 'completed' | 'failed' | 'continued'; services: ServiceResult[] }
  | { state: 'refused'; failure: Failure; services: ServiceResult[] }
export type ServiceResult = {
  name: string
  state: 'moved' | 'refused' | 'restored' | 'rollback-incomplete'
  attempt?: number
  oldMs?: number
  newMs?: number
  direct?: boolean
  backend?: string
  failure?: Failure
}

const ended = (services: ServiceResult[]): MigrationResult => ({
  state: services.every((each) => each.state === 'moved' && !each.failure) ? 'completed' : 'failed',
  services,
})

/** The end of each service of a wave: moved, refused before anything was changed, or rolled back. */
async function settleWave(
  step: Step,
  { setup, request }: Moving,
  { wave, attempts }: { wave: string; attempts: Attempt[] },
): Promise<ServiceResult[]> {
  const settled = await Promise.all(
    attempts.map(async (each): Promise<Attempt> => {
      const { name, attempt } = each
      if (attempt === undefined || each.failure) return each
      const moved = await endAttempt(step, setup, { id: `${name}: moved`, name, attempt, state: 'moved' })
      return moved.ok ? each : { ...each, failure: moved.failure }
    }),
  )
  // What was moved before, and is as it was, stays when its request is stopped.
  const stayed = new Set<string>()
  for (const { name, attempt, failure } of settled)
    if (attempt !== undefined && failure?.code === 'request-aborted') {
      const stay = async () => (await setup.journal()).stay(name, attempt)
      const stays = await tried(step, `${name}: stay`, stay, { always: true })
      if (stays.ok && stays.value) stayed.add(name)
    }
  const failed = settled.flatMap(({ name, attempt, failure }) =>
    attempt !== undefined && failure && !stayed.has(name) ? [{ name, attempt, failure }] : [],
  )
  // A superseded attempt is already being taken back, or moved anew, by somebody else.
  for (const each of failed)
    if (!each.failure.code.endsWith('-superseded')) await requestRollback(step, { request, ...each })
  const ends = await awaitRollbacks(step, setup, { wave, attempts: failed })
  return settled.map(({ name, attempt, proof, failure }) => {
    // Without an attempt nothing was changed.
    if (attempt === undefined) return { name, state: 'refused', ...(failure && { failure }) }
    if (failure) return { name, attempt, state: stayed.has(name) ? 'moved' : restoredOr(ends[name]), failure }
    const { oldMs, ms: newMs, direct, backend } = proof ?? {}
    return {
      name,
      attempt,
      state: 'moved',
      ...(proof && { newMs, direct, backend }),
      ...(oldMs !== undefined && { oldMs }),
    } as ServiceResult
  })
}

const restoredOr = (state: string | undefined) => (state === 'restored' ? 'restored' : 'rollback-incomplete')

/**
 * An abort of everything takes back what this request had moved; any other keeps it. Nobody can abort it after this look:
 * an abort that is accepted is carried out.
 */
async function takeBackIfAborted(
  step: Step,
  { setup, request, run }: Moving,
  results: ServiceResult[],
): Promise<ServiceResult[]> {
  const scope = await tried(
    step,
    'abort: look',
    async () => (await (await setup.journal()).closeToAborts(request, run)) ?? null,
    { always: true },
  )
  if (!scope.ok || scope.value !== 'all') return results
  const aborted = new OnehopError('request-aborted', { request }).toJSON()
  const moved = results.flatMap(({ name, attempt = 0, state }) =>
    state === 'moved' ? [{ name, attempt }] : [],
  )
  for (const each of moved) await requestRollback(step, { request, ...each, failure: aborted })
  const ends = await awaitRollbacks(step, setup, { wave: 'abort', attempts: moved })
  return results.map((each) =>
    each.state === 'moved' ? { ...each, state: restoredOr(ends[each.name]), failure: aborted } : each,
  )
}

/** The rest of the waves, in a run of their own. */
function goOn(
  step: Step,
  { request, run }: Moving,
  { services, done }: { services: string[]; done: ServiceResult[] },
) {
  return step.sendEvent('go on', {
    // With the run: a rerun comes to the same border, and the engine would drop its event as a duplicate.
    id: `${request}/${run}/on/${services[0] ?? ''}`,
    name: 'mesh/migration.continued',
    data: { request, run, services, done },
  })
}
