import { type ClusterService, type Mesh, vantagesOf } from '../plan/mesh.ts'
import { stepsOfSoak } from './soak.ts'
import { stepsOfWait } from './step.ts'
import { rollbackSeconds } from './undo-change.ts'
import { stepsOfVantages } from './vantages.ts'

/**
 * The engine ends a run at 1,000 steps, without a catch block: what had been changed would be left to whoever finds it.
 * So a run does at most half of that, as far as it can be split.
 */
export const mostSteps = 500

/** The operator's parts, and the waits for its ProxyClass and its device, at most. */
export const stepsOfOperator = 60

/** How many steps a wave takes at most: every wait to its end, and every service rolled back. */
export function stepsOfWave(mesh: Mesh, wave: ClusterService[]): number {
  const each = 2 + stepsOfWait(mesh.deadlines.device) + 4
  const { device, certificate } = mesh.deadlines
  const warm = wave.filter(({ mode }) => mode === 'https').length * stepsOfWait(device + certificate)
  const together = 5 + stepsOfSoak(mesh.soak.seconds) + stepsOfWait(rollbackSeconds)
  const isAsked = wave.some((service) => vantagesOf(mesh, service).length > 0)
  return wave.length * each + warm + together + (isAsked ? stepsOfVantages(mesh.deadlines.proof) : 0)
}
