import { AsyncLocalStorage } from 'node:async_hooks'

/** A program of onehop on panda. Killed, it does nothing more, and what it waits for never comes. */
export type Process = { name: string; alive: boolean }

/** On whose behalf code runs: a run of the engine, or `local` for what the worker or the command line does by itself. */
export const onBehalf = new AsyncLocalStorage<string>()

export const never = <T>() => new Promise<T>(() => undefined)
