import { annotateService, type ExposeState } from './annotate-service.ts'
import { type Attempt, type Moving, serviceOf } from './attempt.ts'
import { provePath } from './prove-path.ts'
import { awaited, type Step, tried } from './step.ts'

/** Exposes a service and proves its new path: record, apply, prove. */
export async function exposeService(
  step: Step,
  { meshFile }: Moving,
  { name, attempt = 0 }: Attempt,
): Promise<Attempt> {
  const recorded = await tried(step, `${name}/expose: record`, async () => {
    const { mesh, systems, journal, service } = await serviceOf(meshFile, name)
    const before = await annotateService.read(systems, service)
    await journal.record(name, attempt, {
      id: 'expose', before, target: annotateService.target(before, service), uid: before.uid, undone: false,
    }) // biome-ignore format: one record
    return { seconds: mesh.deadlines.device }
  })
  if (!recorded.ok) return { name, attempt, failure: recorded.failure }

  const applied = await tried(step, `${name}/expose: apply`, async () => {
    const { systems, journal } = await serviceOf(meshFile, name)
    await journal.guarded(name, attempt, async (entry) => {
      const change = entry.changes.find((each) => each.id === 'expose')
      await annotateService.write(systems, {
        from: change?.before as ExposeState,
        to: change?.target as ExposeState,
        undo: false,
      })
    })
  })
  if (!applied.ok) return { name, attempt, failure: applied.failure }

  const proven = await awaited(step, `${name}/expose: prove`, {
    seconds: recorded.value.seconds,
    look: async () => {
      const { mesh, systems, journal, service } = await serviceOf(meshFile, name)
      const proof = await provePath(systems, mesh, service)
      await journal.noteProbe(name, attempt, proof.ms)
      return proof
    },
  })
  return proven.ok ? { name, attempt, proof: proven.value } : { name, attempt, failure: proven.failure }
}
