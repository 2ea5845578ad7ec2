import type { Failure } from '../errors.ts'
import { loadMesh } from '../load-mesh.ts'
import { selectServices } from '../plan/mesh.ts'
import { wavesOf } from '../plan/plan.ts'
import { type Attempt, endAttempt, type Moving } from '../steps/attempt.ts'
import { exposeService } from '../steps/expose-service.ts'
import { preflightWave } from '../steps/preflight-wave.ts'
import { soakWave } from '../steps/soak.ts'
import { type Step, tried } from '../steps/step.ts'
import { switchWave } from '../steps/switch-wave.ts'
import { awaitRollback } from '../steps/undo-change.ts'
import { installOperator } from './install-operator.ts'
import { requestRollback } from './rollback.ts'

/**
 * Moves services, wave by wave: expose, prove, switch, soak. One failure is one service's: it is rolled back alone.
 * Read it top down; every step can be run again, and a request that has ended changes nothing.
 */
export async function migrate(
  step: Step,
  { meshFile, request, run, services }: MigrateOptions,
): Promise<MigrationResult> {
  const plan = await tried(step, 'plan', async () => {
    const mesh = await loadMesh(meshFile)
    return wavesOf(selectServices(mesh, services)).map((wave) => wave.map((each) => each.name))
  })
  if (!plan.ok) return refused(plan.failure)
  const operator = await installOperator(step, { meshFile })
  if (operator.state === 'failed') return refused(operator.failure)

  const moving: Moving = { meshFile, request, run }
  const results: ServiceResult[] = []
  for (const [index, names] of plan.value.entries()) {
    const wave = `wave ${index + 1}`
    const attempts = await preflightWave(step, moving, { wave, names })
    const exposed = await Promise.all(
      attempts.map((each) => (each.failure ? each : exposeService(step, moving, each))),
    )
    const switched = await switchWave(step, moving, { wave, attempts: exposed })
    const soaked = await soakWave(step, moving, { wave, attempts: switched })
    results.push(...(await Promise.all(soaked.map((each) => settle(step, moving, each)))))
  }
  return {
    state: results.every((each) => each.state === 'moved') ? 'completed' : 'failed',
    services: results,
  }
}

export type MigrateOptions = {
  meshFile: string
  request: string
  run: string
  services?: string[] | undefined
}
export type MigrationResult =
  | { state: 'completed' | 'failed'; services: ServiceResult[] }
  | { state: 'refused'; failure: Failure; services: ServiceResult[] }
export type ServiceResult = {
  name: string
  state: 'moved' | 'refused' | 'restored' | 'rollback-incomplete'
  oldMs?: number
  newMs?: number
  direct?: boolean
  backend?: string
  failure?: Failure
}
const refused = (failure: Failure): MigrationResult => ({ state: 'refused', failure, services: [] })

/** The end of one service: moved, refused before anything was changed, or rolled back. */
async function settle(step: Step, moving: Moving, of: Attempt): Promise<ServiceResult> {
  const { name, attempt, proof } = of
  // Without an attempt nothing was changed.
  if (attempt === undefined) return { name, state: 'refused', ...(of.failure && { failure: of.failure }) }
  const ended = of.failure
    ? { ok: false as const, failure: of.failure }
    : await endAttempt(step, moving.meshFile, { id: `${name}: moved`, name, attempt, state: 'moved' })
  if (ended.ok)
    return {
      name,
      state: 'moved',
      ...(proof && { oldMs: proof.oldMs, newMs: proof.ms, direct: proof.direct, backend: proof.backend }),
    }
  const { failure } = ended
  // A superseded attempt is already being taken back, or moved anew, by somebody else.
  if (failure.code !== 'attempt-superseded')
    await requestRollback(step, { ...moving, name, attempt, failure })
  return { name, state: await awaitRollback(step, moving, { name, attempt }), failure }
}
