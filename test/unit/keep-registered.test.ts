import { expect, test, vi } from 'vitest'
import { keepRegistered } from '../../src/keep-registered.ts'

test('a refused registration is told with its status and body, once', async () => {
  let puts = 0
  const lines: string[] = []
  const stop = new AbortController()
  const kept = keepRegistered({
    engine: 'http://127.0.0.1:1',
    register: async () => {
      puts++
      return new Response('{"message":"invalid cron"}', { status: 400 })
    },
    endpoint: 'http://127.0.0.1:3111/api/inngest',
    link: { connected: () => undefined },
    signal: stop.signal,
    log: (line) => lines.push(line),
  })
  await vi.waitFor(() => expect(puts).toBeGreaterThan(1), 5000)
  stop.abort()
  await kept
  expect(lines).toEqual(['not registered with the engine: HTTP 400 {"message":"invalid cron"}'])
})
