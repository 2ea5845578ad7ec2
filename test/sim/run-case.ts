import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { isDeepStrictEqual } from 'node:util'
import { install } from '@sinonjs/fake-timers'
import fc from 'fast-check'
import type { Case } from './case.ts'
import { createRuntime } from './runtime.ts'
import { createWorld } from './world.ts'

/**
 * Runs one case to its end, in no time and without any I/O, and tells what did not hold on the way. `rerunning`: at the
 * end each run is run again from each of its steps, and nothing may come of it.
 */
export async function runCase(each: Case, { tracing = false, rerunning = false } = {}): Promise<Outcome> {
  // Of the case's own seed: a scheduler that is generated beside the case is not the same again after shrinking.
  const [scheduler] = fc.sample(fc.scheduler(), { seed: each.seed, numRuns: 1 })
  if (!scheduler) throw new Error('fast-check gave no scheduler')
  const clock = install({
    now: Date.UTC(2026, 0, 1),
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    loopLimit: 1_000_000,
  })
  const restore = countUuids()
  try {
    const runtime = createRuntime({ scheduler, seed: each.seed, clock, faults: each.faults, tracing })
    const world = createWorld(runtime, each)
    const settle = async () => {
      await runtime.run(world.isQuiet, patience + 3 * (each.soakSeconds ?? 0))
      if (runtime.violations.length === 0 && !world.isQuiet())
        runtime.violate('I8', `nothing has settled within ${patience} s: ${world.state()}`)
    }
    do await settle()
    while (runtime.violations.length === 0 && world.askNext())
    if (runtime.violations.length === 0) world.invariants.final()
    for (let round = 0; each.takeBack && round < 3; round++) {
      const moved = each.services
        .map((_, index) => `s${index + 1}`)
        .filter((name) => /^(moved|retired)$/.test(world.invariants.entryOf(name)?.state ?? ''))
      if (runtime.violations.length > 0 || moved.length === 0) break
      if (round > 0) world.noMoreFaults()
      for (const name of moved) {
        world.rollbackLocally(name)
        await settle()
      }
      if (round === 2) runtime.violate('I7', `not taken back: ${moved.join(', ')}`)
      if (runtime.violations.length === 0) world.invariants.final()
    }
    const reruns = rerunning ? world.reruns() : []
    for (const { what, again } of reruns) {
      if (runtime.violations.length > 0) break
      const [written, before] = [runtime.written(), world.invariants.ends()]
      again()
      await settle()
      if (runtime.written() !== written) runtime.violate('I4', `${what} writes`)
      if (!isDeepStrictEqual(world.invariants.ends(), before))
        runtime.violate('I4', `${what} changes the journal`)
      world.invariants.final()
    }
    const migrations = world.stepsOf('migrate')
    const { moves, retirements } = world.invariants.counts()
    const { violations, trace, counts } = runtime
    return {
      ends: world.invariants.ends(),
      reruns: reruns.length,
      violations,
      trace,
      faults: counts,
      effects: runtime.effects(),
      migrations,
      moves,
      retirements,
      seconds: runtime.seconds(),
    }
  } finally {
    restore()
    clock.uninstall()
  }
}

export type Outcome = {
  /** How each service and each request ended, with the code of the reason that is shown. */
  ends: { services: Record<string, Ended>; requests: Ended[] }
  reruns: number
  violations: string[]
  trace: string[]
  faults: Partial<Record<string, number>>
  effects: number
  /** How often a service was seen moved: a simulation in which nothing moves proves nothing. */
  moves: number
  retirements: number
  /** The steps of each run of a migration. */
  migrations: number[]
  /** Of the simulated time. */
  seconds: number
}

type Ended = { state: string; code: string | undefined }

/** More than any wait of onehop's, with all retries of the engine's. */
const patience = 5400

/** Drafts and local requests have random names: here they are counted, so that a case can be run again exactly. */
function countUuids(): () => void {
  let count = 0
  const { randomUUID } = crypto
  const next = (): ReturnType<typeof randomUUID> =>
    `${String(++count).padStart(8, '0')}-0000-4000-8000-000000000000`
  crypto.randomUUID = next
  syncBuiltinESMExports()
  const web = Object.getOwnPropertyDescriptor(globalThis.crypto, 'randomUUID')
  Object.defineProperty(globalThis.crypto, 'randomUUID', { value: next, configurable: true, writable: true })
  return () => {
    crypto.randomUUID = randomUUID
    syncBuiltinESMExports()
    if (web) Object.defineProperty(globalThis.crypto, 'randomUUID', web)
    else Reflect.deleteProperty(globalThis.crypto, 'randomUUID')
  }
}
