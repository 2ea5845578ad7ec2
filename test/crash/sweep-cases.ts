import { messageOf } from '../../src/errors.ts'
import { onehop } from '../real/panda.ts'
import { type Case, nameOf } from './cases.ts'
import { lookAtStart, problemsOf } from './check-end.ts'
import { startCrashWorker } from './crash-worker.ts'
import { type Row, runCase } from './run-case.ts'
import { bringTo, service, standing, storyOf } from './stories.ts'

/**
 * Runs cases one after the other in the world that is there, and tells of each row. Of those that are left it takes one
 * that starts where the last one ended, so that hardly any time goes into going back.
 *
 * @returns whether all were run: a case that leaves a broken world that no rollback repairs ends the sweep of this world
 */
export async function sweepCases(cases: Case[], onRow: (row: Row) => void): Promise<boolean> {
  await onehop('operator', 'install')
  const start = await lookAtStart()
  for (const link of ['serve', 'connect'] as const) {
    const left = cases.filter((each) => each.link === link)
    if (left.length === 0) continue
    await using _worker = await startCrashWorker(link)
    while (left.length > 0) {
      const next = left.find((each) => storyOf[each.story].from === standing()) ?? left[0]
      if (!next) break
      left.splice(left.indexOf(next), 1)
      try {
        await bringTo(storyOf[next.story].from)
      } catch (thrown) {
        process.stderr.write(`before ${nameOf(next)}: ${messageOf(thrown)}\n`)
        return false
      }
      const row = await runCase(next, start)
      onRow(row)
      if (row.end === 'broken' && !(await repaired())) return false
    }
    await bringTo('restored')
  }
  return true

  async function repaired(): Promise<boolean> {
    await onehop('rollback', service, '--local')
    return standing() === 'restored' && (await problemsOf(start).catch(() => ['?'])).length === 0
  }
}
