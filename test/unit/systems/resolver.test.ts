import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { resolverAnswers } from '../../../src/systems/resolver.ts'

/** A name server that gives back the question with "no such name", or nothing at all. */
async function nameServer(silent: boolean) {
  const socket = createSocket('udp4')
  socket.on('message', (question, { address, port }) => {
    if (silent) return
    const answer = Buffer.from(question)
    answer.writeUInt16BE(0x8183, 2)
    socket.send(answer, port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    servers: [`127.0.0.1:${socket.address().port}`],
    [Symbol.dispose]: () => void socket.close(),
  }
}

describe('a resolver', () => {
  test('that knows no such name has answered', async () => {
    using server = await nameServer(false)
    expect(await resolverAnswers('api.example.com', { milliseconds: 5000, ...server })).toBe(true)
  })

  test('that is silent has not, and is given up', async () => {
    using server = await nameServer(true)
    expect(await resolverAnswers('api.example.com', { milliseconds: 50, ...server })).toBe(false)
  })

  test('is not asked about addresses and this machine', async () => {
    using server = await nameServer(true)
    for (const host of ['127.0.0.1', '[::1]', 'localhost'])
      expect(await resolverAnswers(host, { milliseconds: 50, ...server })).toBe(true)
  })
})
