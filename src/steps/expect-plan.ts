import { OnehopError } from '../errors.ts'
import { describeWorld, hashOfWorld } from '../plan/describe-world.ts'
import { requireWhole } from '../plan/snapshot.ts'
import type { Setup } from '../setup.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'

/**
 * Looks at the world once more and compares its hash with that of the plan that was asked for: the sender of the request
 * may have looked at another world, or at an earlier one.
 *
 * @throws OnehopError plan-moved; what could not be read
 */
export async function expectPlan(
  setup: Setup,
  { services, plan: expected }: { services: string[] | undefined; plan: string },
): Promise<void> {
  const work = await setup.work()
  const snapshot = requireWhole(await takeSnapshot(work))
  const found = hashOfWorld(describeWorld(work.mesh, snapshot, { names: services }), services)
  if (found !== expected)
    throw new OnehopError('plan-moved', {
      moved: `the plan's hash is ${short(expected)}, and that of a plan made now ${short(found)}`,
    })
}

const short = (hash: string) => `${hash.slice(0, 12)}...`
