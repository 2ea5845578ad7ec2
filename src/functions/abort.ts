import { OnehopError } from '../errors.ts'
import type { Setup } from '../setup.ts'
import { type Step, tried } from '../steps/step.ts'
import type { Ended } from './requested.ts'

/**
 * Asks running migrations to stop (all, or the one of `request`): the change in hand is finished, what is not yet moved is
 * rolled back, and what is moved stays, unless `all`. The migration itself does this, at its next step.
 */
export async function abort(
  step: Step,
  { setup, request, all = false }: { setup: Setup; request?: string | undefined; all?: boolean | undefined },
): Promise<Ended> {
  const asked = await tried(step, 'abort', async () => {
    const journal = await setup.journal()
    const running = (await journal.listRequests()).filter(
      (each) => each.state === 'running' && migrations.has(each.event) && (!request || each.id === request),
    )
    const told = await Promise.all(
      running.map(async ({ id }) => ((await journal.abortRequest(id, all ? 'all' : 'rest')) ? [id] : [])),
    )
    if (told.flat().length === 0) throw new OnehopError('nothing-to-abort', { request: request ?? '(any)' })
    return told.flat()
  })
  return asked.ok
    ? { state: 'completed', result: { aborted: asked.value } }
    : { state: 'failed', result: null, failure: asked.failure }
}

const migrations = new Set(['mesh/migration.requested', 'mesh/service.expose.requested'])
