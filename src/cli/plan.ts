import { resolve } from 'node:path'
import { OnehopError } from '../errors.ts'
import { describeWorld, hashOfWorld } from '../plan/describe-world.ts'
import { type Plan, planMesh } from '../plan/plan.ts'
import { countPlan, renderPlan } from '../plan/render-plan.ts'
import { savePlan } from '../plan/saved-plan.ts'
import { isWhole, planUnread } from '../plan/snapshot.ts'
import { createSetup } from '../setup.ts'
import { writePlanFile } from '../systems/plan-file.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import type { Answer } from './output.ts'

/**
 * onehop plan [service ...] [--out FILE]: reads the cluster, Caddy and the tailnet; writes nothing but FILE and needs no
 * engine. `hash` in the answer is what mesh/migration.requested takes as `plan`. What could not be read makes it fail with
 * plan-unread: then `hash` is null, FILE is not written, and no change is listed for it. With --detailed-exitcode 0 is
 * nothing to do, 2 changes, and 1 an error or a service that is blocked.
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
  const counts = countPlan(planned)
  const { changes, blocked } = counts
  const text = json ? [] : [renderPlan(planned)]
  // Only a world that was read whole has a hash: any other would be that of another plan a moment later.
  const world = isWhole(snapshot) ? describeWorld(work.mesh, snapshot, { names, plan: planned }) : undefined
  if (out && world) {
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
  } else if (out) text.push(`not saved: ${out} was not written`)
  const failure =
    planUnread(snapshot) ??
    (detailedExitcode && blocked > 0
      ? new OnehopError('plan-blocked', { blocked, count: planned.services.length })
      : undefined)
  return {
    result: { ...planned, changes, blocked, hash: world ? hashOfWorld(world, names) : null },
    text: text.join('\n'),
    next: nextOf(planned, counts, { services, out }),
    ...(failure && { failure: failure.toJSON() }),
    ...(detailedExitcode && !failure && changes > 0 && { exit: 2 as const }),
  }
}

/** What to run next: never more than what was planned. */
function nextOf(
  { services: planned, unread }: Plan,
  { changes, blocked }: ReturnType<typeof countPlan>,
  { services, out }: { services: string[]; out: string | undefined },
): string[] {
  const command = (...words: string[]) => ['onehop', ...words].join(' ')
  if (blocked > 0 || unread.length > 0) {
    const free = planned.filter((each) => each.problems.length === 0 && each.changes.length > 0)
    const movable = blocked < planned.length && free.length > 0 ? free.map(({ name }) => name) : []
    return [
      command('check', ...services),
      command('plan', ...services),
      ...(movable.length > 0 ? [command('migrate', ...movable)] : []),
    ]
  }
  if (changes === 0) return [command('status')]
  return [out ? command('migrate', '--plan', out) : command('migrate', ...services)]
}
