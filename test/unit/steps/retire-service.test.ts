import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { openJournal } from '../../../src/journal.ts'
import { parseMesh, selectServices } from '../../../src/plan/mesh.ts'
import type { PathUser } from '../../../src/plan/usage.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { removeCaddyRoute } from '../../../src/steps/remove-caddy-route.ts'
import { preflightRetire } from '../../../src/steps/retire-service.ts'
import type { ServiceTypeFacts } from '../../../src/systems/kubernetes-facts.ts'
import { localStep } from '../local-step.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-retire-'))
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const meshFile = {
  kubernetes: { context: 'admin@talos' },
  tailnet: 'a.ts.net',
  tailscale: { credentials },
  operator: { version: '1.102.4', credentials },
  caddy: { file: 'Caddyfile' },
  engine: { url: 'http://127.0.0.1:1' },
  retire: { hold: 60, every: 5 },
  services: { redis: { service: 'apps/redis', ports: [6379] } },
}

type World = {
  quietSince: number | undefined
  /** Redis plays the engine, which mesh.yaml has at this URL; the worker has used `engineInUse` since its start. */
  engineUrl?: string
  engineInUse?: string
  users?: PathUser[]
  helmRelease?: string
  helm?: Pick<Work['systems']['helm'], 'release'>
  service?: object
  ports?: ServiceTypeFacts['ports']
  caddyfile?: string
}

const main = { name: '', port: 6379, nodePort: 6379, protocol: 'TCP' }

/** A moved redis whose device answers, in a world without trouble. `quietSince` is how long nobody was seen, in seconds. */
async function movedRedis(world: World) {
  const { quietSince, helmRelease, helm, engineUrl, engineInUse, users = [], ports = [main] } = world
  const asEngine = engineUrl !== undefined && { engine: { url: engineUrl } }
  const redis = { ...meshFile.services.redis, ...(asEngine && { engine: true }), ...world.service }
  const mesh = parseMesh(
    JSON.stringify({ ...meshFile, ...asEngine, machine: 'panda', services: { redis } }),
    join(folder, 'mesh.yaml'),
  )
  const journal = await openJournal(folder)
  const { attempt } = await journal.begin('redis', {
    request: 'a',
    run: 'r',
    cluster: 'uid',
    tailnet: 'a.ts.net',
  })
  await journal.end('redis', attempt, { state: 'moved' })
  const now = Date.now()
  if (quietSince !== undefined)
    await journal.saveUsage('redis', [{ at: now, from: now - quietSince * 1000, users }])
  const facts = {
    namespace: 'apps',
    name: 'redis',
    uid: 'u',
    resourceVersion: '1',
    type: 'NodePort',
    clusterIP: '10.0.0.1',
  }
  const proxy = {
    fqdn: 'redis.a.ts.net',
    deviceId: 'd',
    addresses: ['100.64.0.9'],
    current: true,
    destination: '10.0.0.1',
  }
  const answer = { ok: true, ms: 1 }
  const systems = {
    kubernetes: {
      clusterId: async () => 'uid',
      proxies: async () => ({
        'apps/redis': proxy,
        'ingress:apps/onehop-redis': { ...proxy, httpsEndpoint: 'redis.a.ts.net' },
      }),
      service: async () => ({ ...facts, annotations: {}, finalizers: [], ports: [] }),
      serviceType: async () => ({
        ...facts,
        manager: 'kubectl',
        ...(helmRelease && { helmRelease }),
        ports,
      }),
    },
    ingresses: { read: async () => ({ wish: { service: 'redis', port: 6379 } }) },
    tailscale: {
      peers: async () => ({ 'redis.a.ts.net': { addresses: ['100.64.0.9'], reachable: true, direct: true } }),
    },
    probes: {
      resolve: async () => ({ magicDns: ['100.64.0.9'], system: ['100.64.0.9'] }),
      tcp: async () => answer,
      http: async () => answer,
      https: async () => answer,
    },
    helm,
    sockets: { addresses: () => ['127.0.0.1', '100.64.0.1', 'fd7a::1'] },
    caddy: {
      readFile: async () => ({ text: world.caddyfile ?? '' }),
      running: async () => ({}),
      adaptFile: async () => ({}),
    },
  }
  const work = { mesh, journal, systems } as unknown as Work
  const setup: Setup = {
    ...{ mesh: async () => mesh, journal: async () => journal, work: async () => work },
    ...(engineInUse && { engineInUse }),
  }
  return { setup, journal, work }
}

const asked = { request: 'retire', run: 'r2', service: 'redis' }

test.each([
  ['nobody has looked', undefined, 'old-path-not-yet-quiet'],
  ['it was looked at for too short a time', 20, 'old-path-not-yet-quiet'],
  ['the quiet time was before the switch', 600, 'old-path-not-yet-quiet'],
])('a service of which %s is not retired, and stays moved', async (_, quietSince, code) => {
  const { setup, journal } = await movedRedis({ quietSince })
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: false })
  expect(outcome).toMatchObject({ ok: false, failure: { code } })
  expect(await journal.read('redis')).toMatchObject({ state: 'moved', attempt: 1 })
})

test('by force it is, and takes the next attempt', async () => {
  const { setup, journal } = await movedRedis({ quietSince: undefined })
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
  expect(outcome).toMatchObject({
    ok: true,
    value: { attempt: 2, notes: [expect.stringContaining('-  type: NodePort')] },
  })
  expect(outcome).not.toHaveProperty('value.kept.managed')
  expect(await journal.read('redis')).toMatchObject({ state: 'retiring', attempt: 2 })
})

test('a type that Helm owns is kept, and the exact command for its owner is said, without a value of the release', async () => {
  const values = { service: { type: 'NodePort', port: 6379 }, password: 'geheim' }
  const helm = { release: async () => ({ chart: 'redis', version: '1.2.3', values }) }
  const { setup } = await movedRedis({ quietSince: undefined, helmRelease: 'cache', helm })
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
  const command =
    'helm -n apps upgrade cache REPOSITORY/redis --version 1.2.3 --reuse-values --set service.type=ClusterIP'
  expect(outcome).toMatchObject({
    ok: true,
    value: {
      kept: { managed: 'helm', release: 'cache', type: 'NodePort', set: ['service.type=ClusterIP'], command },
      notes: [expect.stringContaining(command)],
    },
  })
  expect(JSON.stringify(outcome)).not.toContain('geheim')
})

test('a Helm that cannot be asked stops no retirement, and is said', async () => {
  const helm = {
    release: async () => {
      throw new OnehopError('helm-failed', {
        ...{ action: 'get values cache', message: 'release: not found', namespace: 'apps', release: 'cache' },
      })
    },
  }
  const { setup } = await movedRedis({ quietSince: undefined, helmRelease: 'cache', helm })
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
  expect(outcome).toMatchObject({
    ok: true,
    value: {
      kept: { set: [] },
      notes: [expect.stringMatching(/release: not found.*get values cache --all/)],
    },
  })
})

test('a service that is not moved has no old path to retire', async () => {
  const { setup, journal } = await movedRedis({ quietSince: undefined })
  await journal.beginRollback('redis', { request: 'undo', run: 'u' })
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
  expect(outcome).toMatchObject({ ok: false, failure: { code: 'not-moved' } })
})

test.each([
  ['another port', { ...main, name: 'admin', port: 8001, nodePort: 30801 }, '8001/TCP (node port 30801)'],
  [
    'UDP, of which nobody is ever seen',
    { ...main, name: 'udp', protocol: 'UDP' },
    '6379/UDP (node port 6379)',
  ],
])(
  'a node port that mesh.yaml does not list would go too, so it is named, also by force: %s',
  async (_, port, named) => {
    const { setup, journal } = await movedRedis({ quietSince: undefined, ports: [main, port] })
    const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
    expect(outcome).toMatchObject({
      ok: false,
      failure: { code: 'node-port-unlisted', message: expect.stringContaining(named) },
    })
    expect(await journal.read('redis')).toMatchObject({ state: 'moved' })
  },
)

test('a port without a node port goes nowhere, listed or not', async () => {
  const { nodePort: _, ...inner } = { ...main, name: 'admin', port: 8001 }
  const { setup } = await movedRedis({ quietSince: undefined, ports: [main, inner] })
  expect(await preflightRetire(localStep, { setup, ...asked, forced: true })).toMatchObject({ ok: true })
})

test('counted on one port, a service with another port is only sampled', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  const { setup, journal } = await movedRedis({
    quietSince: undefined,
    caddyfile: 'panda.a.ts.net:9379 {\n\treverse_proxy redis.a.ts.net:6379\n}\n',
    service: { ports: [6379, 6380], routes: { 'https://panda.a.ts.net:9379': 6379 }, probe: 'tcp' },
  })
  const from = Date.now()
  vi.setSystemTime(from + 61_000)
  await journal.saveUsage('redis', [
    { at: Date.now(), from, users: [], counted: { since: 1, requests: 0, inFlight: 0 } },
  ])
  const outcome = await preflightRetire(localStep, { setup, ...asked, forced: false })
  expect(outcome).toMatchObject({ ok: false, failure: { code: 'old-path-only-sampled' } })
})

describe('a route of Caddy that leads to', () => {
  const outcomeOf = async (upstream: string) => {
    const caddyfile = `:9000 {\n\treverse_proxy ${upstream}\n}\n`
    const ports = [{ ...main, nodePort: 30379 }]
    const { setup } = await movedRedis({ quietSince: undefined, caddyfile, ports })
    return preflightRetire(localStep, { setup, ...asked, forced: true })
  }
  test.each([
    ['the port map', 'localhost:6379'],
    ['the port map by the name of this machine', 'panda:6379'],
    ['the port map by its full name', 'panda.a.ts.net:6379'],
    ['the port map by an address of this machine', '100.64.0.1:6379'],
    ['the port map by one of IPv6', '[fd7a::1]:6379'],
    ['the port map at any address', '0.0.0.0:6379'],
    ['the node port at whatever address', '10.5.0.2:30379'],
  ])('%s blocks, also by force', async (_, upstream) => {
    const outcome = await outcomeOf(upstream)
    expect(outcome).toMatchObject({ ok: false, failure: { code: 'caddy-route-remains' } })
  })
  test.each([
    ['the device name', 'redis.a.ts.net:6379'],
    ['a device of the same port as the node port', 'redis:30379'],
    ['another machine', '10.5.0.2:6379'],
  ])('%s does not', async (_, upstream) => {
    expect(await outcomeOf(upstream)).toMatchObject({ ok: true })
  })
})

describe('in https mode', () => {
  const site = 'https://panda.a.ts.net:9379'
  const service = { mode: 'https', probe: { http: '/' }, routes: { [site]: 6379 } }
  const caddyfile = `${site} {\n\treverse_proxy localhost:6379\n}\n`

  test('its own route, which dials the port map until then, does not block, and is the one to be taken out', async () => {
    const { setup, work } = await movedRedis({ quietSince: undefined, service, caddyfile })
    const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
    expect(outcome).toMatchObject({ ok: true, value: { attempt: 2 } })
    const [redis] = selectServices(work.mesh)
    const state = redis && (await removeCaddyRoute.read(work.systems, work.mesh, redis))
    expect(state?.routes).toMatchObject([{ site, upstream: 'localhost:6379', whole: true }])
  })

  test('the route of another site does', async () => {
    const other = caddyfile.replace('9379', '9380')
    const { setup } = await movedRedis({ quietSince: undefined, service, caddyfile: caddyfile + other })
    const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
    expect(outcome).toMatchObject({
      ok: false,
      failure: { code: 'caddy-route-remains', message: expect.stringContaining(':9380 still goes') },
    })
  })
})

describe("the engine's old path stays, also by force,", () => {
  const engineUrl = 'http://redis.a.ts.net:6379'
  const old = 'http://localhost:6379'
  test.each([
    ['while mesh.yaml has the old URL', { engineUrl: old, engineInUse: engineUrl }],
    ['while the worker was not restarted since mesh.yaml had the new one', { engineUrl, engineInUse: old }],
  ])('%s', async (_, urls) => {
    const { setup } = await movedRedis({ quietSince: 0, ...urls })
    const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
    expect(outcome).toMatchObject({
      ok: false,
      failure: { code: 'engine-goes-last', message: expect.stringContaining(old) },
    })
  })

  test('while another process is seen on its ports', async () => {
    const users = [{ port: 6379, process: 'bun', pid: 4711 }]
    const { setup } = await movedRedis({ quietSince: 0, engineUrl, engineInUse: engineUrl, users })
    const outcome = await preflightRetire(localStep, { setup, ...asked, forced: true })
    expect(outcome).toMatchObject({
      ok: false,
      failure: { code: 'old-path-in-use', message: expect.stringContaining('bun (pid 4711) on port 6379') },
    })
  })

  test('and no longer', async () => {
    const { setup } = await movedRedis({ quietSince: 0, engineUrl, engineInUse: engineUrl })
    expect(await preflightRetire(localStep, { setup, ...asked, forced: true })).toMatchObject({ ok: true })
  })
})
