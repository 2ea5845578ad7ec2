import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { adaptCaddyfile } from '../../../simulated/adapt-caddyfile.ts'
import { rollbackHere } from '../../../src/functions/recover.ts'
import { createSetup, type Setup } from '../../../src/setup.ts'
import { createCaddy } from '../../../src/systems/caddy.ts'
import { startSilence } from '../silence.ts'

// Caddy's admin API, the port map and the device are real sockets here. Each waits for the real deadline of a call, so they do it side by side.
describe.concurrent('rollback --local with a silent API server', { timeout: 60_000 }, () => {
  test('Caddy goes back to a port map that answers while the device name is silent; the rest waits for the cluster', async () => {
    await using world = await createWorld({ portMap: 'run_id:one', device: undefined })
    expect(await world.rollback()).toMatchObject([
      {
        service: 'redis',
        state: 'rollback-incomplete',
        failure: { code: 'kubernetes-unreachable', silent: true },
      },
    ])
    expect(world.caddyfile()).toBe(world.old)
    expect(world.running()).toEqual(adaptCaddyfile(world.old))
    expect(await world.changes()).toEqual({ allow: false, expose: false, switch: true })
    // It can be run again: what is done stays done, and nothing more is possible yet.
    expect(await world.rollback()).toMatchObject([
      { state: 'refused', failure: { code: 'kubernetes-unreachable' } },
    ])
    expect(await world.changes()).toEqual({ allow: false, expose: false, switch: true })
  })

  test('Caddy goes back where both paths show the same backend', async () => {
    await using world = await createWorld({ portMap: 'run_id:one', device: 'run_id:one' })
    expect(await world.rollback()).toMatchObject([{ state: 'rollback-incomplete' }])
    expect(world.caddyfile()).toBe(world.old)
  })

  test.for<[title: string, world: Given]>([
    ['the port map is silent, too', { portMap: undefined, device: undefined }],
    [
      'the port map leads to another backend than the device',
      { portMap: 'run_id:two', device: 'run_id:one' },
    ],
    ['its old path was retired', { portMap: 'run_id:one', device: undefined, retired: true }],
  ])('nothing is touched where %s', async ([, given]) => {
    await using world = await createWorld(given)
    const before = await world.entry()
    expect(await world.rollback()).toMatchObject([
      { service: 'redis', state: 'refused', failure: { code: 'kubernetes-unreachable' } },
    ])
    expect(world.caddyfile()).toBe(world.moved)
    expect(await world.entry()).toEqual(before)
  })

  test('Caddy goes back where nothing says which backend it is: the port map answers', async () => {
    await using world = await createWorld({ portMap: '', device: '', probe: 'tcp' })
    expect(await world.rollback()).toMatchObject([{ state: 'rollback-incomplete' }])
    expect(world.caddyfile()).toBe(world.old)
  })

  test('by force also to another backend', async () => {
    await using world = await createWorld({ portMap: 'run_id:two', device: 'run_id:one' })
    expect(await world.rollback({ force: true })).toMatchObject([{ state: 'rollback-incomplete' }])
    expect(world.caddyfile()).toBe(world.old)
  })

  test('each step is told as it comes, with the reason where it fails', async () => {
    await using world = await createWorld({ portMap: 'run_id:one', device: undefined })
    await world.rollback()
    expect(world.told).toEqual([
      'redis/rollback: begin',
      expect.stringMatching(/^redis\/rollback: begin: .*no answer in 10 s {2}\[kubernetes-unreachable\]$/),
      'redis/rollback: begin with Caddy alone',
      'redis/switch: undo',
      'redis/switch: prove undone',
      'redis/rollback: end',
      'books',
    ])
  })
})

type Given = {
  /** What a path answers to PING; silent if undefined. */
  portMap: string | undefined
  device: string | undefined
  probe?: 'redis' | 'tcp'
  retired?: boolean
}

async function createWorld({ portMap, device, probe = 'redis', retired = false }: Given) {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-without-cluster-'))
  const api = await startSilence()
  const [old, fresh] = [await redis(portMap), await redis(device)]
  let config: unknown
  const admin = await listen(
    createHttp(async (request, response) => {
      if (request.method === 'POST') config = JSON.parse(await text(request))
      response.end(JSON.stringify(config))
    }),
  )
  const site = (upstream: string) => `http://redis.panda {\n\treverse_proxy ${upstream}\n}\n`
  const files = { old: site(`localhost:${old.port}`), moved: site(`redis.ts.localhost:${fresh.port}`) }
  config = adaptCaddyfile(files.moved)
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const cluster = { server: api.url, 'insecure-skip-tls-verify': true }
  writeFileSync(
    join(folder, 'kubeconfig'),
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'admin@talos', context: { cluster: 'c', user: 'u' } }],
    }),
  )
  writeFileSync(join(folder, 'Caddyfile'), files.moved)
  writeFileSync(
    join(folder, 'mesh.yaml'),
    stringify({
      kubernetes: { context: 'admin@talos', kubeconfig: 'kubeconfig' },
      tailnet: 'ts.localhost',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile', admin: `http://127.0.0.1:${admin.port}` },
      engine: { url: 'http://127.0.0.1:1' },
      state: 'state',
      services: {
        redis: {
          service: 'apps/redis',
          ports: [{ port: fresh.port, portMap: old.port }],
          probe,
          routes: { 'http://redis.panda': fresh.port },
        },
      },
    }),
  )
  const real = createSetup(join(folder, 'mesh.yaml'))
  const setup: Setup = {
    ...real,
    async work() {
      const work = await real.work()
      const { file, admin: url } = work.mesh.caddy
      const caddy = createCaddy({ file, admin: url, adapter: async (draft) => adaptCaddyfile(draft) })
      return { ...work, systems: { ...work.systems, caddy } }
    },
  }
  const journal = await setup.journal()
  const { attempt } = await journal.begin('redis', { request: 'r', run: 'r', cluster: 'c', tailnet: 't' })
  const { file } = (await setup.mesh()).caddy
  const route = (upstream: string) => ({ file, routes: [{ site: 'http://redis.panda', upstream }] })
  const [before, target] = [route(`localhost:${old.port}`), route(`redis.ts.localhost:${fresh.port}`)]
  for (const change of [
    { id: 'allow' as const, before: null, target: null },
    { id: 'expose' as const, before: null, target: null },
    { id: 'switch' as const, before, target },
  ])
    await journal.record('redis', attempt, { ...change, undone: false })
  await journal.end('redis', attempt, { state: retired ? 'retired' : 'moved' })
  const told: string[] = []
  return {
    ...files,
    told,
    caddyfile: () => readFileSync(join(folder, 'Caddyfile'), 'utf8'),
    running: () => config,
    entry: () => journal.read('redis'),
    async changes() {
      const { changes = [] } = (await journal.read('redis')) ?? {}
      return Object.fromEntries(changes.map(({ id, undone }) => [id, undone]))
    },
    rollback: (more: { force?: boolean } = {}) =>
      rollbackHere(setup, { services: ['redis'], ...more, report: (line) => told.push(line) }),
    async [Symbol.asyncDispose]() {
      for (const each of [api, old, fresh, admin]) await each[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A Redis that answers PING and INFO with that, or a socket that is silent. */
async function redis(answer: string | undefined) {
  if (answer === undefined) return startSilence()
  return listen(
    createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.write(`+PONG\r\n$${answer.length}\r\n${answer}\r\n`))
    }),
  )
}

async function listen(server: Server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      if ('closeAllConnections' in server) (server as ReturnType<typeof createHttp>).closeAllConnections()
    },
  }
}
