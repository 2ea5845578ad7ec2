import type { Failure } from '../errors.ts'
import type { Setup } from '../setup.ts'
import { attending } from '../steps/attending.ts'
import { lookAtRemoval, removeOperatorParts } from '../steps/operator-removal.ts'
import { createLocalStep, type Step } from '../steps/step.ts'

/**
 * Removes the operator that onehop installed, once nothing needs it: ProxyClass, Helm release, its own device, Secrets, and
 * the namespace if onehop made it and it is empty. The definitions of its kinds (CRDs) are Helm's: those of a chart that
 * has them as templates, as Tailscale's does, go with the release, unless they say `helm.sh/resource-policy: keep`. Where
 * nothing of ours is left, nothing is written.
 */
export async function removeOperator(
  step: Step,
  { setup, request }: { setup: Setup; request: string },
): Promise<RemovalResult> {
  const looked = await lookAtRemoval(step, { setup, request })
  if (!looked.ok) return { state: 'failed', failure: looked.failure }
  const { removed, seconds } = looked.value
  if (removed) return { state: 'removed', changed: false, notes: [] }
  const parts = await removeOperatorParts(step, { setup, request, seconds })
  return parts.ok
    ? { state: 'removed', changed: true, notes: parts.value }
    : { state: 'failed', failure: parts.failure }
}

/** The same right here, with engine and worker stopped. `report` is told each step. */
export async function removeOperatorHere(
  setup: Setup,
  report: (line: string) => void,
): Promise<RemovalResult> {
  const [journal, { engine }] = await Promise.all([setup.journal(), setup.mesh()])
  const request = `local-${crypto.randomUUID()}`
  const of = { request, run: request }
  const record = { id: request, event: 'mesh/operator.remove.requested', data: {}, run: request }
  await journal.beginRequest(record, engine.patience)
  const result = await removeOperator(createLocalStep(attending(setup, of), report), { setup, ...of })
  const failure = result.state === 'failed' ? result.failure : undefined
  await journal.endRequest(request, request, { state: failure ? 'failed' : 'completed', result, failure })
  return result
}

/** `notes` say what was left in place, and why. */
export type RemovalResult =
  | { state: 'removed'; changed: boolean; notes: string[] }
  | { state: 'failed'; failure: Failure }
