import type { Failure } from '../errors.ts'
import { OnehopError } from '../errors.ts'
import type { State } from '../journal.ts'
import { loadWork } from '../load-mesh.ts'
import { selectServices } from '../plan/mesh.ts'
import type { Proof } from './prove-path.ts'
import { type Step, tried } from './step.ts'

/** A service on its way; `attempt` is absent if it was refused before anything was written down. */
export type Attempt = { name: string; attempt?: number; proof?: Proof; failure?: Failure }
export type Moving = { meshFile: string; request: string; run: string }

/** Everything that a step about one service works with, as mesh.yaml is now. */
export async function serviceOf(meshFile: string, name: string) {
  const work = await loadWork(meshFile)
  const [service] = selectServices(work.mesh, [name])
  if (!service) throw new OnehopError('service-unknown', { service: name, known: '' })
  return { ...work, service }
}

/** Writes down how an attempt ended. */
export function endAttempt(step: Step, meshFile: string, { id, name, attempt, state, failure }: Ending) {
  return tried(step, id, async () => {
    const { journal } = await loadWork(meshFile)
    await journal.end(name, attempt, { state, failure })
  })
}

type Ending = { id: string; name: string; attempt: number; state: State; failure?: Failure | undefined }
