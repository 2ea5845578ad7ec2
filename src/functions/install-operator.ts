import type { Failure } from '../errors.ts'
import type { Setup } from '../setup.ts'
import { applyOperator, awaitOperator, lookAtOperator } from '../steps/operator-parts.ts'
import { proveOperatorClient } from '../steps/prove-operator-client.ts'
import type { Step } from '../steps/step.ts'

/**
 * Brings the operator to the wanted version: namespace, OAuth Secret, Helm release, ProxyClass; then waits until it has
 * joined the tailnet. A healthy one that is not ours is used as it is. Where all is there, nothing is written.
 * The rights of its OAuth client are proven first, unless the request has done so already (`proven`) or the operator, and
 * so its client, is not ours.
 */
export async function installOperator(
  step: Step,
  { setup, proven = false }: { setup: Setup; proven?: boolean },
): Promise<InstallResult> {
  const looked = await lookAtOperator(step, setup)
  if (!looked.ok) return { state: 'failed', failure: looked.failure }
  if (looked.value.failure) return { state: 'failed', failure: looked.value.failure }
  if (!proven && looked.value.ours) {
    const able = await proveOperatorClient(step, setup)
    if (!able.ok) return { state: 'failed', failure: able.failure }
  }
  if (looked.value.work === 'none') return { state: 'ready', changed: false }
  const applied = await applyOperator(step, setup)
  if (!applied.ok) return { state: 'failed', failure: applied.failure }
  const joined = await awaitOperator(step, setup, looked.value.seconds)
  return joined.ok ? { state: 'ready', changed: true } : { state: 'failed', failure: joined.failure }
}

export type InstallResult = { state: 'ready'; changed: boolean } | { state: 'failed'; failure: Failure }
