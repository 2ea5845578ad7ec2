import type { Failure } from '../errors.ts'
import { applyOperator, awaitOperator, lookAtOperator } from '../steps/operator-parts.ts'
import type { Step } from '../steps/step.ts'

/**
 * Brings the operator to the wanted version: namespace, OAuth Secret, Helm release, ProxyClass; then waits until it has
 * joined the tailnet. A healthy one that is not ours is used as it is. Where all is there, nothing is written.
 */
export async function installOperator(
  step: Step,
  { meshFile }: { meshFile: string },
): Promise<InstallResult> {
  const looked = await lookAtOperator(step, meshFile)
  if (!looked.ok) return { state: 'failed', failure: looked.failure }
  if (looked.value.failure) return { state: 'failed', failure: looked.value.failure }
  if (looked.value.work === 'none') return { state: 'ready', changed: false }
  const applied = await applyOperator(step, meshFile)
  if (!applied.ok) return { state: 'failed', failure: applied.failure }
  const joined = await awaitOperator(step, meshFile, looked.value.seconds)
  return joined.ok ? { state: 'ready', changed: true } : { state: 'failed', failure: joined.failure }
}

export type InstallResult = { state: 'ready'; changed: boolean } | { state: 'failed'; failure: Failure }
