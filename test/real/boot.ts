import { startSandbox } from '../../sandbox/start.ts'
import { startWorker } from '../../sandbox/worker.ts'

/** One world for all stories, with the worker of the user on panda. It ends with the process that runs the tests. */
export default async function boot() {
  const world = await startSandbox({
    // A step that its worker's death broke off is tried again after 1 s, not after 15 to 45; and each step begins sooner.
    inngestArgs: ['--retry-interval=1', '--tick=50'],
    onPart: ({ name, k, n, seconds }) => console.error(`[${k}/${n}] ${name} (${seconds.toFixed(1)} s)`),
  })
  await startWorker(world)
  return () => world[Symbol.asyncDispose]()
}
