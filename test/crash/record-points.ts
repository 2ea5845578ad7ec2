import { existsSync, readFileSync, rmSync } from 'node:fs'
import { onehop } from '../real/panda.ts'
import type { Story } from './cases.ts'
import { giveOrder, inWorld, startCrashWorker } from './crash-worker.ts'
import { awaitEnd, begin, bringTo, standing, storyOf } from './stories.ts'

/** Records with a worker of its own, in a world that is just booted. */
export async function recordAll(): Promise<Record<Story, string[]>> {
  await onehop('operator', 'install')
  await using _worker = await startCrashWorker('serve')
  // Awaited here: the worker is stopped on leaving.
  return await recordPoints()
}

/** Runs one move and one rollback, and lists every point that the worker passed, in the order of the first time. */
export async function recordPoints(): Promise<Record<Story, string[]>> {
  return { move: await record('move'), rollback: await record('rollback') }
}

async function record(story: Story): Promise<string[]> {
  await bringTo(storyOf[story].from)
  const to = inWorld(`crash-points-${story}`)
  rmSync(to, { force: true })
  giveOrder({ mode: 'record', to })
  try {
    await awaitEnd(await begin(story))
  } finally {
    giveOrder(undefined)
  }
  if (standing() === storyOf[story].from)
    throw new Error(`the ${story} did not come about: it is ${standing()}`)
  const passed = existsSync(to) ? readFileSync(to, 'utf8').trim().split('\n') : []
  return [...new Set(passed)]
}
