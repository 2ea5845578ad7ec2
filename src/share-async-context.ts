import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Lets Inngest's SDK v3 and v4 live in one process. Both keep their AsyncLocalStorage under one global symbol, v3 as a
 * promise and v4 as `{ promise, resolved }`: whichever comes second finds the other's, and every function of it fails with
 * "als.run is not a function" (seen with 3.54 beside 4.24, which have no newer word on it). So the other app's functions
 * would stop because onehop was mounted. One object that is both serves both. To be called before either runs a function.
 */
export function shareAsyncContext(): void {
  const globals = globalThis as unknown as Record<symbol, Shared | undefined>
  const there = globals[key]
  if (there?.promise && there.then) return
  if (there?.promise) {
    const { promise } = there
    // biome-ignore lint/suspicious/noThenProperty: v3 awaits it
    there.then = promise.then.bind(promise)
    return
  }
  // Of v3, or nobody's yet.
  const promise = (there as Promise<Storage> | undefined) ?? Promise.resolve<Storage>(new AsyncLocalStorage())
  const shared: Shared = Object.assign(promise, { promise, isFallback: false })
  promise.then((storage) => {
    shared.resolved = storage
  })
  globals[key] = shared
}

const key = Symbol.for('inngest:als')
type Storage = AsyncLocalStorage<unknown>
type Shared = {
  promise?: Promise<Storage>
  resolved?: Storage
  isFallback?: boolean
  then?: Promise<Storage>['then']
}
