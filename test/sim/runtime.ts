import type { Clock } from '@sinonjs/fake-timers'
import type { Scheduler } from 'fast-check'
import type { Call } from '../../simulated/effect.ts'
import { never, onBehalf, type Process } from '../../simulated/process.ts'
import { type Fault, type FaultKind, isFor } from './faults.ts'

/**
 * What a case runs on: an order of effects that comes from fast-check's scheduler, chances that come from the case's
 * seed, and no other time than the fake clock's. So a case can be run again exactly.
 */
export function createRuntime({ scheduler, seed, clock, faults, tracing }: Options) {
  const started = Date.now()
  const random = mulberry(seed)
  const counts: Partial<Record<FaultKind, number>> = {}
  const trace: string[] = []
  const violations: string[] = []
  const released = Promise.resolve()
  let waiting = faults.toSorted((a, b) => a.at - b.at)
  let [effects, late, slept, written] = [0, 0, 0, 0]
  let landing = false
  let check: () => void = () => undefined
  let strike: (fault: Fault, by: Process, call: Call) => void = () => undefined

  const note = (by: string, what: string) => {
    if (tracing) trace.push(`${String(Date.now() - started).padStart(7)} ms  ${by.padEnd(10)} ${what}`)
  }
  const count = (kind: FaultKind, what = '') => {
    counts[kind] = (counts[kind] ?? 0) + 1
    note('FAULT', `${kind} ${what}`)
  }
  const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

  /** The effect of a call whose caller no longer hears of it. */
  async function land(work: () => unknown, seconds: number, label: string): Promise<void> {
    late++
    await pause(random() * seconds * 1000)
    note('late', label)
    landing = true
    try {
      await work()
    } catch {
      // Refused: it has no effect, and nobody hears of it.
    }
    landing = false
    late--
    check()
  }

  /** Makes a call: waits for its turn, then has its effect in one piece, unless a fault is due. */
  async function effect<T>(by: Process, call: Call, work: () => T | Promise<T>): Promise<T> {
    if (!by.alive) return never()
    await scheduler.schedule(released, call.what)
    const label = `${call.system} ${call.what}`
    if (!by.alive) {
      if (call.onTheWay && random() < 0.5) await land(work, call.onTheWay, `${by.name}'s ${label}`)
      return never()
    }
    effects++
    if (call.system !== 'disk') clock.tick(1)
    if (call.writes && /^(kubernetes|tailscale|caddy)$/.test(call.system)) written++
    note(by.name, tracing ? `${label} (${onBehalf.getStore() ?? ''})` : label)
    const fault = due(by, call)
    if (fault) {
      const { kind } = fault
      count(kind, label)
      const lost = call.lost ?? (() => new Error('lost'))
      switch (kind) {
        case 'error before the effect':
          throw lost()
        case 'error after the effect':
          await work()
          check()
          throw lost()
        case 'timeout':
          if (random() < 0.7) void land(work, call.onTheWay ?? 1, label)
          await pause((call.patience ?? 15) * 1000)
          return by.alive ? Promise.reject(lost()) : never()
        case 'slow':
          await pause(1000 + random() * 13_000)
          break
        case 'partial write':
          call.partly?.()
          if (random() < 0.5)
            throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
          strike({ ...fault, kind: 'worker killed' }, by, call)
          break
        default:
          if (kind === 'worker killed' || kind === 'power cut') {
            const chance = random()
            if (chance < 0.4) {
              await work()
              check()
            } else if (chance < 0.7 && call.onTheWay && kind === 'worker killed')
              void land(work, call.onTheWay, label)
          }
          strike(fault, by, call)
      }
      if (!by.alive) return never()
    }
    const result = await work()
    check()
    return by.alive ? result : never()
  }

  function due(by: Process, call: Call): Fault | undefined {
    const first = waiting[0]
    if (!first || first.at > effects) return undefined
    const fault = waiting.find(
      (each) =>
        each.at <= effects &&
        (!each.on || each.on === call.what) &&
        isFor(each.kind, call) &&
        possible(each, by),
    )
    if (fault) waiting = waiting.filter((each) => each !== fault)
    return fault
  }
  let possible: (fault: Fault, by: Process) => boolean = () => true

  return {
    scheduler,
    clock,
    random,
    violations,
    trace,
    counts,
    note,
    count,
    effect,
    pause,
    land,
    check: () => check(),
    effects: () => effects,
    /** How often something outside was written to, or to be written to. */
    written: () => written,
    isLate: () => late > 0,
    /** Whether what happens just now was sent before its sender was fenced off. */
    isLanding: () => landing,
    seconds: () => (Date.now() - started) / 1000,
    violate(invariant: string, message: string) {
      note('VIOLATION', `${invariant}: ${message}`)
      violations.push(`${invariant}: ${message}`)
    },
    /** What runs after each effect, and what the faults do that are the world's and not one call's. */
    watch(each: { check: () => void; strike: typeof strike; possible: typeof possible }) {
      ;({ check, strike, possible } = each)
    },
    /** Time passes and nothing happens, but that all timers that are due by then fire at once. */
    sleep(milliseconds: number) {
      slept += milliseconds
      clock.jump(milliseconds)
    },
    noMoreFaults() {
      waiting = []
    },
    /** Lets everything happen until nothing is left to do but to wait for `until`; a violation ends it. */
    async run(until: () => boolean, seconds: number): Promise<void> {
      const end = Date.now() - slept + seconds * 1000
      for (let turns = 0; violations.length === 0; turns++) {
        // More than twenty services with every fault take: something goes round in circles.
        if (turns > 500_000) return
        await immediate()
        if (scheduler.count() > 0) void scheduler.waitOne()
        else if (until()) return
        else if (Date.now() - slept > end || clock.countTimers() === 0) return
        else clock.next()
      }
    },
  }
}

export type Runtime = ReturnType<typeof createRuntime>
type Options = { scheduler: Scheduler; seed: number; clock: Clock; faults: Fault[]; tracing: boolean }

// The real one: taken before the fake clock is installed, and not faked by it.
const setImmediateNow = globalThis.setImmediate
const immediate = () => new Promise<void>((resolve) => setImmediateNow(resolve))

/** Numbers in [0, 1) from a seed (mulberry32). */
function mulberry(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
