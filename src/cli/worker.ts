import { createSetup } from '../setup.ts'
import { startWorker } from '../worker.ts'
import type { Answer } from './output.ts'
import { refuseSimulated } from './refuse-simulated.ts'

/** onehop worker: runs until SIGINT or SIGTERM. */
export async function worker({ mesh }: { mesh: string }): Promise<Answer> {
  refuseSimulated(await createSetup(mesh).mesh(), 'worker')
  const running = await startWorker({ meshFile: mesh, log: (line) => process.stderr.write(`${line}\n`) })
  await new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await running.close()
  return { result: { stopped: true }, text: 'stopped' }
}
