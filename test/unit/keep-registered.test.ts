import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { keepRegistered } from '../../src/keep-registered.ts'

test('a refused registration is told with its status and body, once', async () => {
  let puts = 0
  const server = createServer((request, response) => {
    if (request.method === 'PUT') puts++
    response.writeHead(400).end('{"message":"invalid cron"}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const own = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const lines: string[] = []
  const stop = new AbortController()
  const kept = keepRegistered({
    ...{ engine: own, own, origin: own, link: { connected: () => undefined } },
    signal: stop.signal,
    log: (line) => lines.push(line),
  })
  await vi.waitFor(() => expect(puts).toBeGreaterThan(1), 5000)
  stop.abort()
  await kept
  server.close()
  expect(lines).toEqual(['not registered with the engine: HTTP 400 {"message":"invalid cron"}'])
})
