import type { ServiceObject } from './cluster-state.ts'
import type { Process } from './process.ts'

/** One call of a simulated system from outside: where latency, interleavings and faults come in. */
export type Call = {
  system: 'disk' | 'kubernetes' | 'tailscale' | 'caddy' | 'probes' | 'helm' | 'engine'
  what: string
  writes?: boolean
  /** The error of a call whose answer is lost, and after how many seconds its caller stops waiting. */
  lost?: () => Error
  patience?: number
  /** For how many seconds at most it may still be on its way when its caller is gone. */
  onTheWay?: number
  /** The Service that it writes. */
  object?: ServiceObject | undefined
  /** The first part of the effect, for a write that is cut short. */
  partly?: () => void
}

/** What a simulated system runs on: makes a call on behalf of a process, and decides when it has its effect. */
export type Conditions = {
  /** A number in [0, 1). */
  random(): number
  effect<T>(by: Process, call: Call, work: () => T | Promise<T>): Promise<T>
  pause(milliseconds: number): Promise<void>
}

/** Every call has its effect at once, and nothing goes wrong. */
export const undisturbed: Conditions = {
  random: () => 0.5,
  effect: async (_by, _call, work) => work(),
  pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
}
