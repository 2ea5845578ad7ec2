import { NonRetriableError } from 'inngest'
import { events } from '../../inngest.config.ts'
import { OnehopError } from '../errors.ts'
import { problemsOf } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import { noteEvidence } from '../steps/note-evidence.ts'
import { type EngineStep, withPatience } from '../steps/step.ts'
import type { Context } from './requested.ts'

/**
 * Takes what a vantage saw. It is no request: it changes nothing but the evidence of an attempt that asked for it, and
 * what nobody asked for is answered with the reason and forgotten.
 */
export async function noteProbe({ event, step }: Context, setup: Setup): Promise<unknown> {
  const parsed = events['mesh/path.probed'].safeParse(event.data)
  if (!parsed.success) {
    const refusal = new OnehopError('event-invalid', {
      event: 'mesh/path.probed',
      problems: problemsOf(parsed.error).slice(0, 1000),
    })
    throw new NonRetriableError(`${refusal.message} [${refusal.code}]`, { cause: refusal })
  }
  return (step as EngineStep).run('note', () => withPatience(() => noteEvidence(setup, parsed.data)))
}
