import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../../src/errors.ts'
import { waitFor } from '../real/panda.ts'
import { ageLocks } from './age-locks.ts'
import type { Case } from './cases.ts'
import { leftBehind, problemsOf, type Start } from './check-end.ts'
import { giveOrder, inWorld } from './crash-worker.ts'
import type { Stopped } from './order.ts'
import { awaitEnd, begin, standing } from './stories.ts'
import { kill, victims } from './victims.ts'

export type Row = Case & {
  /** The process that was killed, and that it was gone. */
  pid?: number
  gone?: boolean
  /** Whether the effect had been made when it was killed. */
  landed?: boolean
  end: 'moved' | 'restored' | 'broken'
  why?: string
  /** Files left beside the Caddyfile. */
  left?: string[]
  seconds: number
}

/**
 * One kill: the story runs to the point and stops there, the victim is killed with SIGKILL and brought back, and the story
 * must end moved or restored with the world exactly so. The service must stand where the story starts.
 */
export async function runCase(of: Case, start: Start): Promise<Row> {
  const started = performance.now()
  const seconds = () => Math.round((performance.now() - started) / 100) / 10
  const row: Omit<Row, 'end' | 'seconds'> = { ...of }
  try {
    await killAtPoint(of, row)
    const problems = await settled(start)
    const end = standing()
    const left = leftBehind()
    if (left.length > 0) row.left = left
    if (problems.length > 0 || (end !== 'moved' && end !== 'restored'))
      return { ...row, end: 'broken', why: problems.join('; '), seconds: seconds() }
    return { ...row, end, seconds: seconds() }
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause ? `: ${messageOf(thrown.cause)}` : ''
    return { ...row, end: 'broken', why: `${messageOf(thrown)}${cause}`, seconds: seconds() }
  } finally {
    giveOrder(undefined)
  }
}

/** Notes in `row` what is known, also if the story does not end. */
async function killAtPoint({ story, point, when, victim, link }: Case, row: Partial<Row>): Promise<void> {
  const [marker, release] = [inWorld('crash-marker.json'), inWorld('crash-release')]
  for (const file of [marker, release]) rmSync(file, { force: true })
  giveOrder({ mode: 'stop', point, when, marker, release })
  const id = await begin(story)
  await waitFor('the point to be reached', () => existsSync(marker), 60)
  const { landed, pid: stopped } = JSON.parse(readFileSync(marker, 'utf8')) as Stopped
  const { pid, gone } = await kill(victim)
  Object.assign(row, { pid, gone, landed })
  if (victim === 'worker' && pid !== stopped) throw new Error(`pid ${stopped} stopped, pid ${pid} was killed`)
  // The worker meets the others dead before they are back.
  if (victim !== 'worker') {
    writeFileSync(release, '')
    await pause(500)
  }
  if (victim === 'worker' && link === 'serve') ageLocks()
  await victims[victim].back(pid)
  // By connect the engine notices a dead worker by its lease alone, two minutes long, and ends the run only then.
  await awaitEnd(id, { runIsLost: victim === 'engine', seconds: link === 'connect' ? 240 : 90 })
}

/** What is wrong in the end: others than worker and engine may take a moment to be themselves again. */
async function settled(start: Start): Promise<string[]> {
  let problems: string[] = []
  const isRight = async () => {
    problems = await problemsOf(start)
    return problems.length === 0
  }
  await waitFor('the world to be as it should', isRight, 10).catch((thrown: Error) => {
    if (problems.length === 0) problems = [messageOf(thrown.cause ?? thrown)]
  })
  return problems
}
