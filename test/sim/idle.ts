import type { Runtime } from './runtime.ts'

/** For the in-memory systems by themselves: every call has its effect at once, and nothing goes wrong. */
export const idle: Pick<Runtime, 'random' | 'effect' | 'pause'> = {
  random: () => 0.5,
  effect: async (_by, _call, work) => work(),
  pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
}
