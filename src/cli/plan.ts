import { resolve } from 'node:path'
import { OnehopError } from '../errors.ts'
import { describeWorld, hashOfWorld } from '../plan/describe-world.ts'
import { planMesh } from '../plan/plan.ts'
import { countPlan, renderPlan } from '../plan/render-plan.ts'
import { savePlan } from '../plan/saved-plan.ts'
import { createSetup } from '../setup.ts'
import { writePlanFile } from '../systems/plan-file.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import type { Answer } from './output.ts'

/**
 * onehop plan [service ...] [--out FILE]: reads the cluster, Caddy and the tailnet; writes nothing but FILE and needs no
 * engine. `hash` in the answer is what mesh/migration.requested takes as `plan`. With --detailed-exitcode 0 is nothing to
 * do, 2 changes, and 1 an error or a service that is blocked.
 */
export async function plan({
  mesh: file,
  services,
  out,
  json,
  detailedExitcode,
}: {
  mesh: string
  services: string[]
  out?: string
  json?: boolean
  detailedExitcode?: boolean
}): Promise<Answer> {
  const work = await createSetup(file).work()
  const snapshot = await takeSnapshot(work)
  const names = services.length > 0 ? services : undefined
  const planned = planMesh(work.mesh, snapshot, names)
  const { changes, blocked } = countPlan(planned)
  const world = describeWorld(work.mesh, snapshot, { names, plan: planned })
  const text = json ? [] : [renderPlan(planned)]
  const [unread] = snapshot.failures
  if (out && !unread) {
    const { tailnet } = work.mesh
    const made = {
      madeAt: new Date().toISOString(),
      mesh: resolve(file),
      tailnet,
      services: names ?? null,
      world,
    }
    const saved = savePlan({ ...made, plan: planned })
    await writePlanFile(out, saved.text)
    text.push(`saved to ${out} (sha256 ${saved.hash.slice(0, 12)}...)`)
  }
  const failure =
    out && unread
      ? new OnehopError('plan-incomplete', { message: unread.message })
      : detailedExitcode && blocked > 0
        ? new OnehopError('plan-blocked', { blocked, count: planned.services.length })
        : undefined
  const next =
    blocked > 0
      ? ['cure what is marked x, then onehop plan']
      : changes > 0
        ? [out ? `onehop migrate --plan ${out}` : 'onehop migrate']
        : ['onehop status']
  return {
    // A world that could not be read whole has no hash: it would be that of another plan a moment later.
    result: { ...planned, changes, blocked, hash: unread ? null : hashOfWorld(world, names) },
    text: text.join('\n'),
    next,
    ...(failure && { failure: failure.toJSON() }),
    ...(detailedExitcode && !failure && changes > 0 && { exit: 2 as const }),
  }
}
