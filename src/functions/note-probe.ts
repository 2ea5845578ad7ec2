import type { Setup } from '../setup.ts'
import { noteEvidence } from '../steps/note-evidence.ts'
import { type EngineStep, withPatience } from '../steps/step.ts'
import { type Context, expectEvent } from './requested.ts'

/**
 * Takes what a vantage saw. It is no request: it changes nothing but the evidence of an attempt that asked for it, and
 * what nobody asked for is answered with the reason and forgotten.
 */
export async function noteProbe({ event, step }: Context, setup: Setup): Promise<unknown> {
  const probed = expectEvent('mesh/path.probed', event.data)
  return (step as EngineStep).run('note', () => withPatience(() => noteEvidence(setup, probed)))
}
