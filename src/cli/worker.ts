import { startWorker } from '../worker.ts'
import { untilInterrupted } from './end.ts'
import type { Answer } from './output.ts'

/** onehop worker: runs until SIGINT or SIGTERM, and ends with 0 then, within some seconds. */
export async function worker({ mesh }: { mesh: string }): Promise<Answer> {
  const log = (line: string) => process.stderr.write(`${line}\n`)
  await untilInterrupted(() => startWorker({ meshFile: mesh, log }))
  return { result: { stopped: true }, text: 'stopped' }
}
