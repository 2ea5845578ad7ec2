import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Entry } from '../../../src/journal.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { pathsOf } from '../../../src/plan/paths.ts'
import { planMesh, wavesOf } from '../../../src/plan/plan.ts'
import { countPlan, renderPlan } from '../../../src/plan/render-plan.ts'
import type { Snapshot } from '../../../src/plan/snapshot.ts'
import type { OperatorFacts } from '../../../src/systems/kubernetes.ts'

const credentials = { clientIdFile: '/id', clientSecretFile: '/secret' }
const mesh = parseMesh(
  stringify({
    kubernetes: { context: 'admin@talos' },
    tailnet: 'a.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: '/Caddyfile' },
    engine: { url: 'http://localhost:8288' },
    services: {
      inngest: {
        service: 'apps/inngest-svc',
        ports: [8288],
        probe: { http: '/health' },
        engine: true,
        routes: { 'https://panda.a.ts.net:9443': 8288 },
      },
      pds: { service: 'apps/pds', ports: [{ port: 3000, portMap: 9627 }] },
      worker: { host: '127.0.0.1:3111', keep: 'caddy' },
    },
  }),
  '/mesh.yaml',
)
const caddyfile = 'https://panda.a.ts.net:9443 {\n\treverse_proxy localhost:8288\n}\n'

const service = (name: string, port: number) => ({
  namespace: 'apps',
  name,
  uid: `uid of ${name}`,
  resourceVersion: '1',
  type: 'NodePort',
  clusterIP: '10.96.0.7',
  annotations: {},
  finalizers: [],
  ports: [{ name: '', port, nodePort: port }],
})
const operatorDevice = {
  id: 'n1',
  name: 'tailscale-operator.a.ts.net',
  hostname: 'tailscale-operator',
  addresses: ['100.64.0.9'],
  tags: ['tag:k8s-operator'],
  online: true,
  lastSeen: 'now',
}

/** A system that is ready for the move, with parts replaced. */
function world({ cluster, tailnet, ...more }: Change = {}): Snapshot {
  return {
    cluster: {
      id: 'cluster-1',
      services: [service('inngest-svc', 8288), service('pds', 3000)],
      namespaces: { tailscale: 'privileged' },
      readyPorts: { 'apps/inngest-svc': [''], 'apps/pds': [''] },
      proxies: {},
      operator: { version: '1.102.4', ours: true, running: true, message: '1 replicas ready' },
      proxyClassReady: true,
      ...cluster,
    },
    tailnet: {
      devices: [operatorDevice],
      tagOwners: { 'tag:svc-inngest': ['tag:k8s-operator'], 'tag:svc-pds': ['tag:k8s-operator'] },
      peers: {},
      ...tailnet,
    },
    caddy: { version: '2.11.9', text: caddyfile, adapted: { a: 1 }, running: { a: 1 } },
    journal: [],
    failures: [],
    ...more,
  }
}
type Change = Partial<Omit<Snapshot, 'cluster' | 'tailnet'>> & {
  cluster?: Partial<NonNullable<Snapshot['cluster']>>
  tailnet?: Partial<NonNullable<Snapshot['tailnet']>>
}
const entry = (more: Partial<Entry>): Entry => ({
  version: 1,
  service: 'pds',
  attempt: 1,
  state: 'moved',
  request: 'r',
  run: 'r',
  cluster: 'cluster-1',
  tailnet: 'a.ts.net',
  changes: [],
  ended: {},
  ...more,
})

test('a ready system is planned without a problem, each change with its undo', () => {
  const plan = planMesh(mesh, world())
  expect(plan.problems).toEqual([])
  expect(plan.operator).toEqual({ work: 'none', changes: [] })
  const [inngest, pds] = plan.services
  expect(inngest?.changes.map((each) => `${each.sign} ${each.what}`)).toEqual([
    '+ Service apps/inngest-svc: tailscale.com/expose: true',
    '+ Service apps/inngest-svc: tailscale.com/hostname: inngest',
    '+ Service apps/inngest-svc: tailscale.com/tags: tag:svc-inngest',
    '~ /Caddyfile:2 https://panda.a.ts.net:9443: localhost:8288 -> inngest.a.ts.net:8288',
  ])
  expect(inngest?.changes.at(-1)?.undo).toBe('inngest.a.ts.net:8288 -> localhost:8288, one reload')
  expect(pds?.changes).toHaveLength(3)
  expect(countPlan(plan)).toEqual({ changes: 7, blocked: 0 })
})

test('the engine goes last, in a wave of its own', () => {
  expect(planMesh(mesh, world()).waves).toEqual([['pds'], ['inngest']])
  expect(planMesh(mesh, world(), ['inngest']).waves).toEqual([['inngest']])
  expect(wavesOf([])).toEqual([])
})

test('a process of this machine is kept, and said to be', () => {
  expect(planMesh(mesh, world()).kept).toEqual([
    { name: 'worker', why: expect.stringContaining('not in the cluster') },
  ])
})

test('an asymmetric port map leads to the port of the Service', () => {
  const pds = mesh.services.find((each) => each.name === 'pds')
  if (!pds || !('service' in pds)) throw new Error('pds is a cluster service')
  expect(pathsOf(mesh, pds)).toEqual([
    { port: 3000, portMap: 'localhost:9627', device: 'tcp://pds.a.ts.net:3000' },
  ])
})

test('annotations that stand already are not changed again; those of others go back to their owner', () => {
  const annotations = {
    'tailscale.com/expose': { value: 'true', manager: 'onehop' },
    'tailscale.com/hostname': { value: 'old-pds', manager: 'kubectl' },
  }
  const plan = planMesh(
    mesh,
    world({
      cluster: { services: [service('inngest-svc', 8288), { ...service('pds', 3000), annotations }] },
    }),
    ['pds'],
  )
  expect(plan.services[0]?.changes.map(({ sign, undo }) => [sign, undo])).toEqual([
    ['~', 'back to old-pds under kubectl'],
    ['+', 'withdrawn; the device goes with it'],
  ])
})

test('an operator that is missing is installed, and nothing is in the way of that', () => {
  const { cluster, ...rest } = world({ tailnet: { devices: [] } })
  const { operator: _, ...without } = cluster as NonNullable<Snapshot['cluster']>
  const plan = planMesh(mesh, { ...rest, cluster: { ...without, namespaces: {} } })
  expect(plan.operator.work).toBe('install')
  expect(plan.operator.changes).toHaveLength(4)
  expect(plan.problems).toEqual([])
})

describe('what stands in the way is named', () => {
  const stranger = {
    ...operatorDevice,
    id: 'n2',
    name: 'pds.a.ts.net',
    hostname: 'pds',
    tags: [],
    online: false,
  }
  const services: Array<[title: string, change: Change, code: string]> = [
    ['a Service that is not there', { cluster: { services: [] } }, 'service-missing'],
    [
      'a headless Service',
      { cluster: { services: [{ ...service('pds', 3000), clusterIP: 'None' }] } },
      'service-headless',
    ],
    ['another port', { cluster: { services: [service('pds', 3001)] } }, 'service-port-missing'],
    ['no ready endpoint', { cluster: { readyPorts: {} } }, 'endpoints-not-ready'],
    ['a name held by another device', { tailnet: { devices: [operatorDevice, stranger] } }, 'name-taken'],
    ['a tag that the operator does not own', { tailnet: { tagOwners: {} } }, 'tag-not-owned'],
    [
      'a rollback that did not finish',
      { journal: [entry({ state: 'rollback-incomplete' })] },
      'rollback-pending',
    ],
    [
      'a Service that was made again',
      {
        journal: [entry({ changes: [{ id: 'expose', before: {}, target: {}, uid: 'old', undone: false }] })],
      },
      'service-recreated',
    ],
  ]
  test.each(services)('%s', (_, change, code) => {
    const plan = planMesh(mesh, world(change), ['pds'])
    expect(plan.services[0]?.problems.map((each) => each.code)).toEqual([code])
    expect(countPlan(plan).blocked).toBe(1)
  })

  const all: Array<[title: string, change: Change, code: string]> = [
    [
      'another cluster than the journal names',
      { journal: [entry({ cluster: 'cluster-0' })] },
      'cluster-changed',
    ],
    [
      'a namespace without the label',
      { cluster: { namespaces: { tailscale: '' } } },
      'namespace-not-privileged',
    ],
    [
      'an operator that is down',
      { cluster: { operator: { version: '1', ours: false, running: false, message: 'scaled to 0' } } },
      'operator-down',
    ],
    [
      'a machine that does not take MagicDNS',
      {
        tailnet: {
          dns: {
            name: 'panda.tail7af24.ts.net',
            expected: ['100.64.0.1'],
            magicDns: ['100.64.0.1'],
            system: 'ENOTFOUND',
          },
        },
      },
      'dns-not-accepted',
    ],
    ['an operator that runs and hears nobody', { tailnet: { devices: [] } }, 'operator-deaf'],
    [
      'a Caddy that does not run its file',
      { caddy: { version: '2.11.9', text: caddyfile, adapted: { a: 1 }, running: { a: 2 } } },
      'caddy-file-not-running',
    ],
  ]
  test.each(all)('for every service: %s', (_, change, code) => {
    // An operator of ours in an unlabelled namespace is completed; one of somebody else is only judged.
    const foreign = { ...world(change).cluster?.operator, ours: false } as OperatorFacts
    const plan = planMesh(mesh, world({ ...change, cluster: { ...change.cluster, operator: foreign } }))
    expect(plan.problems.map((each) => each.code)).toEqual([code])
    expect(countPlan(plan).blocked).toBe(2)
  })

  test('a route that the Caddyfile does not have', () => {
    const caddy = { version: '2.11.9', text: ':1 {\n}\n', adapted: {}, running: {} }
    const plan = planMesh(mesh, world({ caddy }), ['inngest'])
    expect(plan.services[0]?.problems.map((each) => each.code)).toEqual(['caddy-route-not-found'])
  })

  test('a system that cannot be read leaves the rest of the plan', () => {
    const { tailnet: _, ...rest } = world()
    const failure = { code: 'tailscale-unreachable', kind: 'system', message: 'away', fix: 'wait' } as const
    const plan = planMesh(mesh, { ...rest, failures: [failure] })
    expect(plan.problems).toEqual([failure])
    expect(plan.services.flatMap((each) => each.problems)).toEqual([])
    expect(plan.notes.at(-1)).toContain('this plan is incomplete')
  })
})

test('the device of the service itself does not hold its name against it', () => {
  const own = { ...operatorDevice, id: 'n2', name: 'pds.a.ts.net', hostname: 'pds', tags: ['tag:svc-pds'] }
  const proxies = { 'apps/pds': { deviceId: 'n2', addresses: [], current: true } }
  const plan = planMesh(mesh, world({ cluster: { proxies }, tailnet: { devices: [operatorDevice, own] } }))
  expect(plan.services.flatMap((each) => each.problems)).toEqual([])
})

test('people read each change with its undo beneath, and that nothing was touched', () => {
  const text = stripVTControlCharacters(renderPlan(planMesh(mesh, world())))
  expect(text).toContain('wave 1 of 2\n\npds  planned\n    localhost:9627 -> tcp://pds.a.ts.net:3000')
  expect(text).toContain('+ Service apps/pds: tailscale.com/expose: true\n      undo: withdrawn')
  expect(text).toMatch(/7 changes, each with its undo; 0 of 2 services blocked\. Nothing was touched\.$/)
})
