import type { ClusterService } from '../plan/mesh.ts'
import type { Systems } from '../systems/systems.ts'
import { annotateService, type ExposeState } from './annotate-service.ts'
import { type Attempt, type Moving, serviceOf } from './attempt.ts'
import { type IngressState, ingressService } from './ingress-service.ts'
import { provePath, warmUp } from './prove-path.ts'
import { awaited, type Step, tried } from './step.ts'

/** Exposes a service and proves its new path: record, apply, prove. With a certificate, the first request comes before the proof. */
export async function exposeService(
  step: Step,
  { setup }: Moving,
  { name, attempt = 0 }: Attempt,
): Promise<Attempt> {
  const recorded = await tried(step, `${name}/expose: record`, async () => {
    const { mesh, systems, journal, service } = await serviceOf(setup, name)
    const { before, target } = await wanted(systems, service)
    await journal.record(name, attempt, { id: 'expose', before, target, uid: before.uid, undone: false })
    const { device, certificate } = mesh.deadlines
    return { seconds: device, certificate, mode: service.mode }
  })
  if (!recorded.ok) return { name, attempt, failure: recorded.failure }

  const applied = await tried(step, `${name}/expose: apply`, async () => {
    const { systems, journal } = await serviceOf(setup, name)
    await journal.guarded(name, attempt, async (entry) => {
      const change = entry.changes.find((each) => each.id === 'expose')
      const [from, to] = [change?.before as Exposure, change?.target as Exposure]
      await writeExposure(systems, { from, to, undo: false, service: name })
    })
  })
  if (!applied.ok) return { name, attempt, failure: applied.failure }

  const { seconds, certificate, mode } = recorded.value
  if (mode === 'https') {
    const warm = await awaited(step, `${name}/expose: warm up`, {
      seconds: seconds + certificate,
      look: async () => {
        const { mesh, systems, journal, service } = await serviceOf(setup, name)
        await journal.expectCurrent(name, attempt)
        await warmUp(systems, mesh, service)
      },
    })
    if (!warm.ok) return { name, attempt, failure: warm.failure }
  }

  const proven = await awaited(step, `${name}/expose: prove`, {
    seconds,
    look: async () => {
      const { mesh, systems, journal, service } = await serviceOf(setup, name)
      // A rollback takes the device away that is waited for here.
      await journal.expectCurrent(name, attempt)
      const proof = await provePath(systems, mesh, service)
      await journal.noteProbe(name, attempt, proof.ms)
      return proof
    },
  })
  return proven.ok ? { name, attempt, proof: proven.value } : { name, attempt, failure: proven.failure }
}

/** What exposes a service, as the journal keeps it: its own annotations, or an Ingress of ours beside it. */
export type Exposure = ExposeState | IngressState
export const isIngress = (state: Exposure): state is IngressState => 'ingress' in state

/** Compare-and-swap of either. @throws OnehopError service-missing, service-recreated, ingress-taken, changed-by-others */
export function writeExposure(systems: Systems, { from, to, ...options }: Write): Promise<void> {
  if (isIngress(from) && isIngress(to)) return ingressService.write(systems, { from, to, ...options })
  return annotateService.write(systems, { from: from as ExposeState, to: to as ExposeState, ...options })
}

type Write = { from: Exposure; to: Exposure; undo: boolean; service: string; force?: boolean }

async function wanted(
  systems: Systems,
  service: ClusterService,
): Promise<{ before: Exposure; target: Exposure }> {
  if (service.mode === 'https') {
    const before = await ingressService.read(systems, service)
    return { before, target: ingressService.target(before, service) }
  }
  const before = await annotateService.read(systems, service)
  return { before, target: annotateService.target(before, service) }
}
