import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { shareAsyncContext } from '../../src/share-async-context.ts'

const key = Symbol.for('inngest:als')
const globals = globalThis as unknown as Record<symbol, unknown>
let saved: unknown
beforeEach(() => {
  saved = globals[key]
})
afterEach(() => {
  globals[key] = saved
})

/** As SDK v3 looks at it, and as v4 does. */
async function seen() {
  const shared = globals[key] as { promise: Promise<unknown>; resolved: unknown }
  const v3 = await (async () => shared)()
  return { v3, v4: await shared.promise, now: shared.resolved }
}
const storage = new AsyncLocalStorage()

test.each([
  ['nobody has made one', undefined],
  ['v3 came first', Promise.resolve(storage)],
  ['v4 came first', { promise: Promise.resolve(storage), resolved: storage, isFallback: false }],
])('where %s, v3 and v4 share one', async (_, there) => {
  globals[key] = there
  shareAsyncContext()
  shareAsyncContext()
  const { v3, v4, now } = await seen()
  expect(v3).toBeInstanceOf(AsyncLocalStorage)
  expect(v4).toBe(v3)
  expect(now).toBe(v3)
  if (there) expect(v3).toBe(storage)
})
