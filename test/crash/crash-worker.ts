import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startWorker, type WorkerOptions } from '../../sandbox/worker.ts'
import { meshFile, read, waitFor, world } from '../real/panda.ts'
import type { Case } from './cases.ts'
import type { Order } from './order.ts'

/**
 * Runs the worker with the hook in it, by a mesh.yaml that loses no time: a short soak, and a run counts as lost after 3 s.
 * Leaving the scope brings the usual worker and mesh.yaml back.
 */
export async function startCrashWorker(link: Case['link']): Promise<AsyncDisposable> {
  if (!existsSync(saved)) cpSync(meshFile, saved)
  await world.server('worker').stop()
  writeFileSync(meshFile, hastyMesh(read(saved), link))
  giveOrder(undefined)
  await startAttached({
    nodeArgs: ['--import', fileURLToPath(new URL('./hook.ts', import.meta.url))],
    env: { ONEHOP_CRASH_ORDER: orderFile },
  })
  return {
    async [Symbol.asyncDispose]() {
      await world.server('worker').stop()
      cpSync(saved, meshFile)
      rmSync(saved)
      await startAttached()
    },
  }
}

/** Tells the hook what to do from now on; `undefined`: nothing. */
export function giveOrder(order: Order | undefined): void {
  if (order) writeFileSync(orderFile, JSON.stringify(order))
  else rmSync(orderFile, { force: true })
}

/** A file of this world's folder, for marker and release. */
export const inWorld = (name: string) => join(world.folder, name)

const orderFile = inWorld('crash-order.json')
const saved = `${meshFile}.before-crash`

/** The engine remembers the last worker for a while: only the new one's own word says that it is attached. */
async function startAttached(options?: WorkerOptions): Promise<void> {
  const log = world.log('worker')
  const before = read(log).length
  await startWorker(world, options)
  await waitFor('the worker to be attached', () =>
    /registered with the engine|connected to the engine/.test(read(log).slice(before)),
  )
}

function hastyMesh(text: string, link: Case['link']): string {
  const engine = ['engine:', '  patience: 3']
  if (link === 'serve') engine.push('  serveOrigin: http://10.89.0.1:3111')
  return [
    text
      .replace('engine:\n', `${engine.join('\n')}\n`)
      .replace(/^soak: .*$/m, 'soak: { seconds: 1, every: 1, failures: 1 }')
      .replace(/^deadlines: .*$/m, 'deadlines: { device: 30, undo: 60 }'),
    // What the worker does on its own time would come in between at any moment.
    'watch: { every: 600 }',
    'retire: { every: 600 }',
    ...(link === 'serve' ? ['worker: { listen: 0.0.0.0:3111 }', ''] : []),
  ].join('\n')
}
