import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { describeWorld, diffWorlds, hashOfWorld } from '../../../src/plan/describe-world.ts'
import { type Mesh, parseMesh } from '../../../src/plan/mesh.ts'
import { planMesh } from '../../../src/plan/plan.ts'
import type { WholeSnapshot } from '../../../src/plan/snapshot.ts'

// panda as it was recorded, six services before the move, with the operator in place.
const read = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8')
const meshText = read('examples/panda/mesh.yaml')
const recorded = read('examples/panda/snapshot.json')
const panda = JSON.parse(recorded) as WholeSnapshot
const { policy } = panda
const operator = { version: '1.102.4', ours: true, running: true, message: '1 replicas ready' }
const whole = JSON.stringify({
  ...panda,
  cluster: { ...panda.cluster, operator, proxyClassReady: true },
})

type Recorded = WholeSnapshot
function snapshot(change: (world: Recorded) => unknown = () => undefined): Recorded {
  const world = JSON.parse(whole) as Recorded
  change(world)
  return world
}
const mesh = (change: (text: string) => string = (text) => text): Mesh =>
  parseMesh(change(meshText), '/home/joel/mesh.yaml')
const redis = ({ cluster }: Recorded) => {
  const found = cluster.services.find((each) => each.name === 'redis')
  if (!found) throw new Error('no redis')
  return found
}
const hashOf = (world: Recorded, of = mesh(), names?: string[]) =>
  hashOfWorld(describeWorld(of, world, { names }), names)
const before = describeWorld(mesh(), snapshot())

const byHand = { value: 'true', manager: 'kubectl-annotate' }
const replaced = (from: string, to: string) => (world: Recorded) => {
  expect(world.caddy.text).toContain(from)
  world.caddy.text = world.caddy.text.replace(from, to)
}

/** What a person or a controller may change, and the line that names it. */
const differences: Array<[line: string | RegExp, change: (world: Recorded) => unknown, mesh?: Mesh]> = [
  [
    'Service joelclaw/redis: type NodePort -> ClusterIP',
    (world) => Object.assign(redis(world), { type: 'ClusterIP' }),
  ],
  [
    /^Service joelclaw\/redis: uid \S+ -> another$/,
    (world) => Object.assign(redis(world), { uid: 'another' }),
  ],
  [
    'Service joelclaw/redis: port 6379 redis, node port 6379, ready -> redis, node port 7777, ready',
    (world) => Object.assign(redis(world), { ports: [{ name: 'redis', port: 6379, nodePort: 7777 }] }),
  ],
  [
    'Service joelclaw/redis: annotation tailscale.com/expose (none) -> true (kubectl-annotate)',
    (world) => Object.assign(redis(world).annotations, { 'tailscale.com/expose': byHand }),
  ],
  [
    /^Service joelclaw\/pds: port 3000 .*, ready -> .*, no ready endpoint$/,
    ({ cluster }) => Object.assign(cluster.readyPorts, { 'joelclaw/pds': [] }),
  ],
  [
    'Caddyfile:20 https://panda.tail7af24.ts.net:9443: localhost:8288 -> localhost:9999',
    replaced('localhost:8288', 'localhost:9999'),
  ],
  [
    'device name redis: held by (none) -> n99',
    ({ tailnet: { devices } }) => {
      const [first] = devices
      if (first) devices.push({ ...first, id: 'n99', name: 'redis.tail7af24.ts.net' })
    },
  ],
  [
    /^policy: tests \{"src":"clanker-001","deny":\["tag:svc-redis:6379"\]\} of redis missing -> \(none\)$/,
    (world) => {
      world.policy = policy.replace('"grants": [', '"grants": [ {"src": ["*"], "dst": ["*"], "ip": ["*"]},')
    },
  ],
  ['operator: running yes -> no', ({ cluster }) => (cluster.operator = { ...operator, running: false })],
  [/^cluster: id \S+ -> another$/, ({ cluster }) => Object.assign(cluster, { id: 'another' })],
  [
    'journal of redis: state planned -> moved',
    ({ journal, cluster: { id } }) =>
      journal.push({
        ...{ version: 1, service: 'redis', attempt: 1, state: 'moved', request: 'r', run: 'r', cluster: id },
        ...{ tailnet: 'tail7af24.ts.net', changes: [], ended: {} },
      }),
  ],
  [
    'mesh.yaml: services.redis.allow ["panda"] -> ["panda","clanker-001"]',
    () => undefined,
    mesh((text) => text.replace('allow: [panda]', 'allow: [panda, clanker-001]')),
  ],
  [
    'mesh.yaml: operator.version 1.102.4 -> 1.102.5',
    () => undefined,
    mesh((text) => text.replace('1.102.4', '1.102.5')),
  ],
  [
    'mesh.yaml: services.worker.host 127.0.0.1:3111 -> (none)',
    () => undefined,
    mesh((text) => text.replace(/ {2}worker:.*\n/, '')),
  ],
]

describe('what makes another plan, or another world for it, has another hash, and is named', () => {
  test.each(differences)('%s', (line, change, of = mesh()) => {
    const world = snapshot(change)
    const { moved } = diffWorlds(before, describeWorld(of, world))
    expect(moved).toContainEqual(expect.stringMatching(line instanceof RegExp ? line : exactly(line)))
    expect(hashOf(world, of)).not.toBe(hashOf(snapshot()))
  })
})
const exactly = (line: string) => new RegExp(`^${line.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`)

test('the facts tell, and the plan that follows from them is not told beside them', () => {
  const world = snapshot((each) => Object.assign(redis(each), { type: 'ClusterIP', uid: 'another' }))
  expect(
    diffWorlds(before, describeWorld(mesh(), world)).moved.every((each) => !each.startsWith('plan:')),
  ).toBe(true)
})

/** What comes and goes by itself, and what does not matter. */
const harmless: Array<[what: string, change: (world: Recorded) => unknown, told?: string]> = [
  ['a version', (world) => Object.assign(redis(world), { resourceVersion: '99' })],
  ['the order of a list', ({ cluster }) => cluster.services.reverse()],
  [
    'when a device was seen last',
    ({ tailnet: { devices } }) => devices.map((each) => Object.assign(each, { lastSeen: '2026-11-25' })),
  ],
  [
    'a way to a peer',
    ({ tailscaled: { peers } }) => Object.values(peers).map((each) => Object.assign(each, { direct: true })),
  ],
  ['a Service that mesh.yaml does not name', ({ cluster: { services } }) => services.splice(0, 1)],
  ["another's rule in the policy", (world) => Object.assign(world, { policy: `// mine\n${policy}` })],
  [
    'a line more in the Caddyfile',
    (world) => Object.assign(world.caddy, { text: `# mine\n${world.caddy.text}` }),
    'Caddyfile: line of https://panda.tail7af24.ts.net:9443 20 -> 21',
  ],
  [
    'a finalizer',
    (world) => redis(world).finalizers.push('tailscale.com/finalizer'),
    'Service joelclaw/redis: finalizers (none) -> tailscale.com/finalizer',
  ],
  [
    "another's annotation",
    (world) => Object.assign(redis(world).annotations, { 'tailscale.com/proxy-class': byHand }),
    'Service joelclaw/redis: annotation tailscale.com/proxy-class (none) -> true (kubectl-annotate)',
  ],
]

describe('what does not matter has the same hash, and is at most named', () => {
  test.each(harmless)('%s', (_, change, told) => {
    const world = snapshot(change)
    expect(JSON.stringify(world)).not.toBe(JSON.stringify(snapshot()))
    expect(hashOf(world)).toBe(hashOf(snapshot()))
    const found = diffWorlds(before, describeWorld(mesh(), world))
    expect(found.moved).toEqual([])
    expect(found.harmless).toEqual(told ? expect.arrayContaining([told]) : [])
  })
})

test('a service that was taken back is as one that was never touched', () => {
  const world = snapshot(({ journal, cluster: { id } }) =>
    journal.push({
      ...{ version: 1, service: 'redis', attempt: 2, state: 'restored', request: 'r', run: 'r', cluster: id },
      ...{ tailnet: 'tail7af24.ts.net', changes: [], ended: {} },
    }),
  )
  expect(hashOf(world)).toBe(hashOf(snapshot()))
})

test('a plan of one service hangs on that service alone', () => {
  const of = (change: (world: Recorded) => unknown) => hashOf(snapshot(change), mesh(), ['typesense'])
  const untouched = of(() => undefined)
  expect(of((world) => Object.assign(redis(world), { type: 'ClusterIP' }))).toBe(untouched)
  expect(of(({ cluster }) => Object.assign(cluster.readyPorts, { 'joelclaw/typesense': [] }))).not.toBe(
    untouched,
  )
  expect(untouched).not.toBe(hashOf(snapshot()))
  expect(hashOf(snapshot(), mesh(), ['redis', 'typesense'])).toBe(
    hashOf(snapshot(), mesh(), ['typesense', 'redis']),
  )
})

test('whatever comes together, two worlds with two plans have two hashes', () => {
  const changes = [...differences.filter(([, , of]) => !of), ...harmless].map(([, change]) => change)
  const planOf = (world: Recorded) => {
    const { services, problems } = planMesh(mesh(), world)
    const told = services.map(({ changes, problems }) => [changes, problems.map((each) => each.code)])
    // The line of the Caddyfile is no part of what is done.
    return JSON.stringify([told, problems.map((each) => each.code)]).replace(/(Caddyfile):\d+/g, '$1')
  }
  const worldOf = (some: typeof changes) => snapshot((world) => some.forEach((change) => void change(world)))
  const subset = fc.subarray(changes)
  fc.assert(
    fc.property(subset, subset, (some, others) => {
      const [a, b] = [worldOf(some), worldOf(others)]
      return planOf(a) === planOf(b) || hashOf(a) !== hashOf(b)
    }),
    { numRuns: 100 },
  )
})

test('no place of a secret and no value of Helm is in the description', () => {
  const secret = mesh((text) =>
    text.replace('version: 1.102.4', 'version: 1.102.4\n  values: { key: hunter2 }'),
  )
  const text = JSON.stringify(describeWorld(secret, snapshot()))
  expect(text).not.toMatch(/hunter2|client-secret|client-id|signing-key/)
  expect(hashOf(snapshot(), secret)).not.toBe(hashOf(snapshot()))
})
