import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  type Connection,
  clientsOf,
  createSockets,
  parseLsof,
  parseLsofListeners,
  parseSs,
  parseSsListeners,
  readListeners,
} from '../../../src/systems/listeners.ts'

const captured = (file: string) =>
  readFileSync(join(import.meta.dirname, '../../fixtures/sockets', file), 'utf8')
const written = (connections: Connection[]) =>
  connections.map(({ port, process, pid, peer }) => `${port} ${process ?? '?'} ${pid ?? '?'} ${peer}`)
const ports = [8108, 8288]

test("lsof: the client's process is named, a listener, a stranger's port and TIME_WAIT are not", () => {
  const sockets = parseLsof(captured('macos-lsof.txt'))
  expect(written(clientsOf(sockets, { ports, local: ['100.64.0.7', '192.168.1.20'] }))).toEqual([
    '8288 caddy 911 127.0.0.1:50904',
    '8108 bun 1204 [::1]:52136',
    '8288 Google Chrome Helper 1340 100.64.0.7:55100',
    '8288 ? ? 127.0.0.1:50911',
    '8288 ? ? 100.64.0.9:61022',
  ])
  expect(written(clientsOf(sockets, { ports: [6379] }))).toEqual([
    '6379 Google Chrome Helper 1340 127.0.0.1:55200',
  ])
  expect(parseLsof('')).toEqual([])
})

test('ss: one entry per process that holds the socket, IPv4 in IPv6 is IPv4, a client elsewhere has no process', () => {
  const sockets = parseSs(captured('linux-ss-root.txt'))
  expect(written(clientsOf(sockets, { ports, local: ['100.64.0.7', '192.0.2.2', 'fe80::1'] }))).toEqual([
    '8108 python3 28142 127.0.0.1:38012',
    '8108 python3 28100 127.0.0.1:38012',
    '8288 node (worker) 28150 127.0.0.1:50904',
    '8108 bun 28160 127.0.0.1:38024',
    '8108 redis-cli 28170 [::1]:52136',
    '8288 ? ? 100.64.0.9:61022',
  ])
  expect(written(clientsOf(sockets, { ports: [22], local: ['fe80::1'] }))).toEqual(['22 ? ? [fe80::2]:40022'])
})

test('ss without root: a user is a user, also without a process', () => {
  expect(written(clientsOf(parseSs(captured('linux-ss-user.txt')), { ports }))).toEqual([
    '8108 ? ? 127.0.0.1:38012',
    '8108 ? ? 127.0.0.1:38024',
  ])
})

test('this machine tells of a connection that is open now, and no longer once it is closed', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  const sockets = createSockets()
  expect(await sockets.connections([port])).toEqual([])
  const client = connect(port, '127.0.0.1')
  const [served]: Socket[] = await once(server, 'connection')
  expect(await sockets.connections([port])).toMatchObject([{ port, pid: process.pid }])
  client.destroy()
  served?.resume()
  served?.end()
  await Promise.all([client, served].map((each) => each && once(each, 'close')))
  expect(await sockets.connections([port])).toEqual([])
  server.close()
})

test('who listens: each address of a port, with its process where it may be seen', () => {
  const lsof = parseLsofListeners(captured('macos-lsof.txt'))
  expect(lsof.map(({ port, process }) => `${port} ${process}`)).toEqual([
    '49152 rapportd',
    '8288 limactl',
    '8108 limactl',
    '8108 limactl',
    '2019 caddy',
  ])
  const ss = parseSsListeners(captured('linux-ss-listeners.txt'))
  expect(ss.map(({ port, process }) => `${port} ${process}`)).toEqual([
    '3111 bun',
    '9627 docker-proxy',
    '9627 docker-proxy',
    '53 null',
    '3838 node (docs)',
  ])
})

test('this machine tells of a listener for as long as it listens', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  const listens = async () => (await readListeners()).filter((each) => each.port === port)
  expect(await listens()).toEqual([{ port, process: expect.any(String) }])
  server.close()
  await once(server, 'close')
  expect(await listens()).toEqual([])
})
