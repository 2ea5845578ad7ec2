import { once } from 'node:events'
import { createServer as createHttp, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { askPort } from '../../../src/systems/ask-port.ts'

let open: Array<{ server: Server; sockets: Set<Socket> }> = []
afterEach(async () => {
  for (const { server, sockets } of open) {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  open = []
})

async function portOf(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, 'localhost')
  await once(server, 'listening')
  open.push({ server, sockets })
  return (server.address() as AddressInfo).port
}
const http = (listener: RequestListener) => portOf(createHttp(listener))
const talking = (answer: (socket: Socket, data: string) => void) =>
  portOf(
    createServer((socket) => socket.on('data', (data) => answer(socket, String(data))).on('error', () => {})),
  )

test('Redis answers PING, and is asked for nothing else', async () => {
  const heard: string[] = []
  const port = await talking((socket, data) => {
    heard.push(data)
    socket.write('+PONG\r\n$12\r\nrun_id:abc\r\n')
  })
  expect(await askPort(port)).toEqual({ kind: 'redis' })
  expect(heard.join()).not.toContain('GET')
})

test('a Redis that wants a password is a Redis', async () => {
  const port = await talking((socket) => socket.write('-NOAUTH Authentication required.\r\n'))
  expect(await askPort(port)).toEqual({ kind: 'redis' })
})

test.for([
  { title: '/health where it answers', good: ['/health', '/'], path: '/health' },
  { title: '/ where there is no /health', good: ['/'], path: '/' },
])('HTTP is asked at $title', async ({ good, path }) => {
  const port = await http(
    ({ url = '' }, answer) => void answer.writeHead(good.includes(url) ? 200 : 404).end(),
  )
  expect(await askPort(port)).toEqual({ kind: 'http', path, inngest: false })
})

test('an Inngest server is known by its header, below 400 or not', async () => {
  const port = await http(
    (_, answer) => void answer.writeHead(401, { 'X-Inngest-Server-Kind': 'cloud' }).end(),
  )
  expect(await askPort(port)).toEqual({ kind: 'tcp', inngest: true })
})

test('an answer that streams for ever is an answer', async () => {
  const port = await http((_, answer) => void answer.writeHead(200).write('data: 1\n\n'))
  expect(await askPort(port)).toEqual({ kind: 'http', path: '/health', inngest: false })
})

test('what answers 404 to both, and what hangs up, only accepts', async () => {
  expect(await askPort(await http((_, answer) => void answer.writeHead(404).end()))).toEqual({
    kind: 'tcp',
    inngest: false,
  })
  expect(await askPort(await talking((socket) => socket.end()))).toEqual({ kind: 'tcp', inngest: false })
})

test('a closed port is silent', async () => {
  const server = createServer()
  const port = await portOf(server)
  server.close()
  await once(server, 'close')
  open = []
  expect(await askPort(port)).toEqual({ kind: 'silent' })
})
