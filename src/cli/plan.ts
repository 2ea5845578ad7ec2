import { loadWork } from '../load-mesh.ts'
import { planMesh } from '../plan/plan.ts'
import { countPlan, renderPlan } from '../plan/render-plan.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import type { Answer } from './output.ts'

/** onehop plan [service ...]: reads the cluster, Caddy and the tailnet; writes nothing and needs no engine. */
export async function plan({ mesh: file, services }: { mesh: string; services: string[] }): Promise<Answer> {
  const work = await loadWork(file)
  const planned = planMesh(work.mesh, await takeSnapshot(work), services.length > 0 ? services : undefined)
  const { changes, blocked } = countPlan(planned)
  const next =
    blocked > 0
      ? ['cure what is marked x, then onehop plan']
      : changes > 0
        ? ['onehop migrate']
        : ['onehop status']
  return { result: { ...planned, changes, blocked }, text: renderPlan(planned), next }
}
