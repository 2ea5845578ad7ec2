import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Entry } from '../../../src/journal-records.ts'
import { findUpstreams, replaceUpstreams } from '../../../src/plan/caddyfile.ts'
import { isClusterService, type Mesh, parseMesh } from '../../../src/plan/mesh.ts'
import { pathsOf, routesOf } from '../../../src/plan/paths.ts'
import { type Plan, planMesh, wavesOf } from '../../../src/plan/plan.ts'
import { countPlan, renderPlan } from '../../../src/plan/render-plan.ts'
import type { Part, Snapshot, Unread, WholeSnapshot } from '../../../src/plan/snapshot.ts'
import type { OperatorFacts } from '../../../src/systems/kubernetes-facts.ts'

const credentials = { clientIdFile: '/id', clientSecretFile: '/secret' }
const raw = {
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
}
const mesh = parseMesh(stringify(raw), '/mesh.yaml')
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

const tagOwners = { 'tag:svc-inngest': ['tag:k8s-operator'], 'tag:svc-pds': ['tag:k8s-operator'] }
const policyOf = (owners: Record<string, string[]>) => JSON.stringify({ tagOwners: owners, grants: [] })

/** A system that is ready for the move, with parts replaced. */
function world({ cluster, tailnet, ...more }: Change = {}): WholeSnapshot {
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
      ...tailnet,
    },
    policy: policyOf(tagOwners),
    tailscaled: { peers: {} },
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

describe('who still reaches a service through Caddy, and is not allowed by name', () => {
  const inngest = { ...raw.services.inngest, allow: ['panda'] }
  const narrow = parseMesh(stringify({ ...raw, services: { ...raw.services, inngest } }), '/mesh.yaml')
  const panda = { ...operatorDevice, name: 'panda.a.ts.net', addresses: ['100.64.0.1'], tags: [] }
  const notes = (grants: string, hosts = '{}') => {
    const policy = `{"hosts": ${hosts}, "grants": [${grants}]}`
    const plan = planMesh(narrow, world({ tailnet: { devices: [operatorDevice, panda] }, policy }))
    return plan.services[0]?.notes.filter((each) => each.includes('through Caddy'))
  }

  test('is said with the route, by the rules that lead to this machine at its port', () => {
    expect(
      notes(
        `{"src": ["joel@", "panda"], "dst": ["mac"], "ip": ["tcp:9000-9999"]},
         {"src": ["group:kids"], "dst": ["mac"], "ip": ["tcp:22"]},
         {"src": ["group:work"], "dst": ["tag:k8s-operator"], "ip": ["*"]}`,
        '{"mac": "100.64.0.1"}',
      ),
    ).toEqual([
      'through Caddy, https://panda.a.ts.net:9443 still answers everyone who can reach this machine (by the policy: joel@): allow restricts the device name alone; onehop retire inngest ends that',
    ])
    expect(notes('{"src": ["*"], "dst": ["*"], "ip": ["*"]}')?.[0]).toContain('(by the policy: *)')
  })

  test('is nothing where nobody else reaches this machine there', () => {
    expect(notes('{"src": ["panda"], "dst": ["panda"], "ip": ["*"]}')).toEqual([])
  })
})

test('a site of Caddy that leads to a service beside its routes is named with its line', () => {
  const seed = (name: string) =>
    readFileSync(join(import.meta.dirname, '../../../sandbox/seed', name), 'utf8')
  const caddy = { version: '2.11.9', text: seed('Caddyfile'), adapted: {}, running: {} }
  const plan = planMesh(parseMesh(seed('mesh.yaml'), '/mesh.yaml'), { caddy, journal: [], failures: [] })
  const beside = plan.services.flatMap(({ name, notes }) =>
    notes.filter((each) => each.includes('none of its routes')).map((each) => `${name}: ${each}`),
  )
  expect(beside).toEqual([
    'inngest: through Caddy, http://localhost:8443 (line 62) also leads to localhost:8288, and is none of its routes: everyone who can reach that site (with a Funnel, the whole internet) reaches inngest',
  ])
})

test('of LiveKit it is said that its media does not move', () => {
  const livekit = { service: 'apps/livekit', ports: [7880] }
  const plan = planMesh(parseMesh(stringify({ ...raw, services: { livekit } }), '/mesh.yaml'), world())
  expect(plan.services[0]?.notes.join()).toMatch(/only its signalling .* move; its media is UDP/)
  expect(JSON.stringify(planMesh(mesh, world()))).not.toContain('LiveKit')
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

test('no change ever names the sites of a process that is kept, and its bytes stay', () => {
  const seed = (name: string) =>
    readFileSync(join(import.meta.dirname, '../../../sandbox/seed', name), 'utf8')
  const text = seed('Caddyfile')
  const whole = parseMesh(seed('mesh.yaml'), '/mesh.yaml')
  const caddy = { version: '2.11.9', text, adapted: {}, running: {} }
  const plan = planMesh(whole, { caddy, journal: [], failures: [] })
  expect(plan.kept[0]?.why).toMatch(/stays as it is: https:\/\/panda\.\S+:3443, http:\/\/localhost:8443$/)
  const changes = plan.services.flatMap((each) => each.changes)
  expect(changes.filter(({ what }) => what.includes('panda'))).toHaveLength(4)
  expect(JSON.stringify(changes)).not.toMatch(/3443|:8443|3111/)
  const edits = whole.services
    .filter(isClusterService)
    .flatMap((each) => routesOf(whole, each))
    .flatMap(({ site, from, to }) =>
      findUpstreams(text, { site, upstream: from }).map((at) => ({ ...at, to })),
    )
  const lines = (of: string) => of.split('\n').filter((line) => /3111|3443|8443/.test(line))
  const moved = replaceUpstreams(text, edits)
  expect(edits).toHaveLength(4)
  expect(lines(moved)).toEqual(lines(text))
})

describe('exposed by hand', () => {
  const byHand = {
    'tailscale.com/expose': { value: 'true', manager: 'kubectl-annotate' },
    'tailscale.com/hostname': { value: 'my-pds', manager: 'kubectl-annotate' },
  }
  const exposed = { ...service('pds', 3000), annotations: byHand }
  const services = [service('inngest-svc', 8288), exposed]

  test('a service of mesh.yaml: the plan says that onehop takes over and gives back', () => {
    const [pds] = planMesh(mesh, world({ cluster: { services } }), ['pds']).services
    expect(pds?.notes).toEqual([
      expect.stringMatching(
        /^exposed by hand already \(kubectl-annotate\): onehop expose pds takes .* gives them back/,
      ),
    ])
    expect(pds?.changes.map(({ sign, undo }) => [sign, undo])).toEqual([
      ['~', 'set it to my-pds again, owned by kubectl-annotate'],
      ['+', 'remove the annotation'],
    ])
  })

  test('what onehop has moved is not by hand, though others own a field', () => {
    const plan = planMesh(mesh, world({ cluster: { services }, journal: [entry({})] }), ['pds'])
    expect(plan.services[0]?.notes).toEqual([])
  })

  test('a Service that mesh.yaml does not name is listed, and no change names it', () => {
    const other = { ...exposed, name: 'grafana' }
    const plan = planMesh(mesh, world({ cluster: { services: [...services, other] } }))
    expect(plan.notes.join('\n')).toContain('never touches them: apps/grafana (kubectl-annotate);')
    expect(JSON.stringify(plan.services)).not.toContain('grafana')
  })

  test('a device without the wanted tag is refused: its tag could not be given to it any more', () => {
    const device = {
      ...operatorDevice,
      id: 'n2',
      name: 'my-pds.a.ts.net',
      hostname: 'my-pds',
      tags: ['tag:k8s'],
    }
    const change = {
      cluster: { services, proxies: { 'apps/pds': { deviceId: 'n2', addresses: [], current: true } } },
      tailnet: { devices: [operatorDevice, device] },
    }
    const [pds] = planMesh(mesh, world(change), ['pds']).services
    expect(pds?.problems.map((each) => each.code)).toEqual(['device-tag-differs'])
    expect(pds?.problems[0]?.fix).toContain('kubectl -n apps annotate service pds tailscale.com/expose-')
  })
})

test('a service without an old path has only its device name', () => {
  const none = parseMesh(
    stringify({ ...raw, services: { pds: { service: 'apps/pds', ports: [3000], oldPath: 'none' } } }),
    '/mesh.yaml',
  )
  const plan = planMesh(none, world())
  expect(plan.services[0]?.paths).toEqual([{ port: 3000, device: 'tcp://pds.a.ts.net:3000' }])
  expect(plan.services[0]?.notes).toEqual([expect.stringContaining('onehop unexpose pds')])
  expect(stripVTControlCharacters(renderPlan(plan))).toContain('(no old path) -> tcp://pds.a.ts.net:3000')
})

test('plan says what migrate will prove of the operator, and which tags are more than it needs', () => {
  const owners = { ...tagOwners, 'tag:k8s': ['tag:k8s-operator'], 'tag:web': ['joel@'] }
  const { notes } = planMesh(mesh, world({ policy: policyOf(owners) }))
  expect(notes.join('\n')).toContain('migrate proves what the operator')
  expect(notes.join('\n')).toContain('also use tag:k8s, which no service')
  const foreign = { version: '1.102.4', ours: false, running: true, message: '' }
  expect(planMesh(mesh, world({ cluster: { operator: foreign } })).notes.join()).not.toContain(
    'migrate proves',
  )
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
    ['~', 'set it to old-pds again, owned by kubectl'],
    ['+', 'remove the annotation; the operator then deletes the device'],
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
    ['a tag that the operator does not own', { policy: policyOf({}) }, 'tag-not-owned'],
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
        tailscaled: {
          peers: {},
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
    [
      "a Caddyfile with a variable of Caddy's own environment",
      {
        caddy: {
          ...{ version: '2.11.9', text: caddyfile, adapted: { a: 1 }, running: { a: 2 } },
          variables: [{ name: 'DOMAIN', file: '/c', line: 6, isSet: false, hasDefault: false }],
        },
      },
      'caddy-variables-unknown',
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

  test('a route whose address in the Caddyfile holds a variable', () => {
    const text = `{\n}\n${caddyfile.replaceAll('https://panda', 'https://{$HOST}')}`
    const routes = { 'https://{$HOST}.a.ts.net:9443': 8288 }
    const named = {
      ...mesh,
      services: mesh.services.map((each) => ('host' in each ? each : { ...each, routes })),
    }
    const caddy = { version: '2.11.9', text, adapted: {}, running: {} }
    const [problem] = planMesh(named, world({ caddy }), ['inngest']).services[0]?.problems ?? []
    expect(problem).toMatchObject({
      code: 'caddy-address-variable',
      message: expect.stringMatching(/:\d+ writes/),
    })
  })

  test('a system that cannot be read leaves the rest of the plan', () => {
    const { tailnet: _, policy: __, ...rest } = world()
    const failure: Unread = {
      ...{ code: 'tailscale-unreachable', kind: 'system', message: 'away', fix: 'wait' },
      parts: ['tailnet', 'policy'],
    }
    const plan = planMesh(mesh, { ...rest, failures: [failure] })
    expect(plan.problems).toEqual([failure])
    expect(plan.services.flatMap((each) => each.problems)).toEqual([])
    expect(stripVTControlCharacters(renderPlan(plan))).toMatch(
      /^Blocked: fix these first\n {2}x away {2}\[tailscale-unreachable\]\n {6}fix: wait\n\nThis plan is incomplete: /,
    )
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
  expect(text).toContain('+ Service apps/pds: tailscale.com/expose: true\n      undo: remove the annotation')
  expect(text).toMatch(/7 changes, each with its undo; 0 of 2 services blocked\. Nothing was touched\.$/)
})

describe('what needs no look is folded', () => {
  const annotationsOf = (name: string) =>
    Object.fromEntries(
      Object.entries({ expose: 'true', hostname: name, tags: `tag:svc-${name}` }).map(([key, value]) => [
        `tailscale.com/${key}`,
        { value, manager: 'onehop' },
      ]),
    )
  const proxyClass = { 'tailscale.com/proxy-class': { value: 'big', manager: 'kubectl-annotate' } }
  const moved = (name: string, object: string, port: number) => ({
    ...service(object, port),
    annotations: { ...annotationsOf(name), ...proxyClass },
    finalizers: ['tailscale.com/finalizer'],
  })
  const device = {
    ...operatorDevice,
    ...{ id: 'n7', name: 'pds.a.ts.net', hostname: 'pds', tags: ['tag:svc-pds'] },
    addresses: ['100.64.0.7', 'fd7a::7'],
  }
  const settled = world({
    cluster: {
      services: [moved('inngest', 'inngest-svc', 8288), moved('pds', 'pds', 3000)],
      proxies: { 'apps/pds': { deviceId: 'n7', addresses: ['100.64.0.7'], current: true } },
    },
    tailnet: { devices: [operatorDevice, device] },
    caddy: {
      version: '2',
      text: caddyfile.replace('localhost:8288', 'inngest.a.ts.net:8288'),
      adapted: {},
      running: {},
    },
    journal: [entry({}), entry({ service: 'inngest' })],
  })
  const shown = (snapshot: Snapshot, names?: string[]) =>
    stripVTControlCharacters(renderPlan(planMesh(mesh, snapshot, names))).split('\n')

  test('services that are moved are one line, and no wave is shown for them', () => {
    const lines = shown(settled)
    expect(lines).toContain('2 services are moved already: inngest, pds')
    expect(lines.join('\n')).not.toMatch(/wave|nothing to change/)
    expect(lines.at(-1)).toBe('Nothing to do: the mesh is as mesh.yaml wants it.')
  })

  test('a moved service of which something differs is shown', () => {
    const lines = shown({ ...settled, caddy: { version: '2', text: caddyfile, adapted: {}, running: {} } })
    expect(lines).toContain('1 service is moved already: pds')
    expect(lines).toContain('inngest  moved')
  })

  test('a service that is retired stands in no wave and blocks nothing, and asked for by name it is refused', () => {
    const retired = { ...settled, journal: [entry({}), entry({ service: 'inngest', state: 'retired' })] }
    const plan = planMesh(mesh, retired)
    expect(plan.waves).toEqual([['pds']])
    expect(countPlan(plan)).toEqual({ changes: 0, blocked: 0 })
    expect(shown(retired)).toContain('1 service is retired already: inngest')
    const [inngest] = planMesh(mesh, retired, ['inngest']).services
    expect(inngest?.problems.map((each) => each.code)).toEqual(['already-retired'])
  })

  test('what differs and means nothing is named once, with where it was seen', () => {
    expect(shown(settled).filter((line) => line.startsWith('harmless: '))).toEqual([
      'harmless: the finalizer of the operator, which takes it away itself: apps/inngest-svc, apps/pds',
      "harmless: annotation tailscale.com/proxy-class of kubectl-annotate, which is not onehop's and stays: apps/inngest-svc, apps/pds",
      "harmless: a device's other address: its name answers with one of them: pds.a.ts.net",
    ])
    expect(planMesh(mesh, world()).harmless).toEqual([])
  })
})

describe('of a part that was not read', () => {
  const panda = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8')
  const recorded = JSON.parse(panda('examples/panda/snapshot.json')) as WholeSnapshot
  const pandaMesh = parseMesh(panda('examples/panda/mesh.yaml'), '/mesh.yaml')
  const proxy = (id: string) => ({ deviceId: id, addresses: [], current: true })
  const device = (id: string, name: string) => ({
    ...{ ...operatorDevice, id, name: `${name}.a.ts.net`, hostname: name, tags: [`tag:svc-${name}`] },
  })
  const moved = world({
    cluster: { proxies: { 'apps/pds': proxy('n2') } },
    tailnet: { devices: [operatorDevice, device('n2', 'pds')] },
    tailscaled: {
      peers: {},
      dns: { name: 'pds.a.ts.net', expected: ['100.64.0.1'], magicDns: ['100.64.0.1'], system: 'ENOTFOUND' },
    },
    journal: [entry({ changes: [{ id: 'expose', before: {}, target: {}, undone: false }] })],
  })
  const worlds: Array<[string, Mesh, Snapshot]> = [
    ['panda before the move', pandaMesh, recorded],
    ['panda with nothing of it there', pandaMesh, { ...recorded, policy: '{}', cluster: emptyOf(recorded) }],
    ['a world that is half moved', mesh, moved],
    [
      'a world with an https service',
      httpsMesh(),
      { ...moved, cluster: { ...moved.cluster, ingresses: [] } },
    ],
  ]
  const all = ['cluster', 'tailnet', 'policy', 'tailscaled', 'caddy'] as const
  const without = (snapshot: Snapshot, parts: readonly Part[]): Snapshot => {
    const left = { ...snapshot }
    for (const part of parts) delete left[part]
    return left
  }
  const told = ({ operator, services, problems }: Plan) => ({
    changes: [operator, ...services].flatMap(({ changes }) => changes),
    problems: [
      ...problems,
      ...services.flatMap((each) => each.problems.map((one) => ({ ...one, of: each.name }))),
    ],
  })

  test.for(worlds)('no change and no problem is made up: %s', ([, of, whole]) => {
    const before = told(planMesh(of, whole))
    fc.assert(
      fc.property(fc.subarray([...all]), (parts) => {
        const plan = planMesh(of, without(whole, parts))
        const { changes, problems } = told(plan)
        expect(before.changes).toEqual(expect.arrayContaining(changes))
        expect(before.problems).toEqual(expect.arrayContaining(problems))
        expect(changes.filter(({ part }) => parts.includes(part))).toEqual([])
        expect(plan.unread).toEqual(parts)
        for (const { state, unread } of plan.services)
          expect(state).not.toBe(unread.length > 0 ? 'planned' : 'unknown')
      }),
      { numRuns: 64 },
    )
  })

  test('a moved service is not said to be moved already, nor its own device to be in its way', () => {
    const plan = planMesh(mesh, without(moved, ['cluster']), ['pds'])
    expect(plan.services).toMatchObject([{ state: 'moved', unread: ['cluster'], problems: [] }])
    const text = stripVTControlCharacters(renderPlan(plan))
    expect(text).not.toMatch(/already|nothing to do/i)
    expect(text).toContain('\nmoved by the journal alone, because the cluster could not be read: pds\n')
  })

  test('no text of a plan has a value in it that is no text', () => {
    for (const [, of, whole] of worlds)
      for (const parts of [[], ...all.map((part) => [part]), all]) {
        const plan = planMesh(of, without(whole, parts))
        expect(`${renderPlan(plan)}\n${JSON.stringify(plan)}`).not.toMatch(/\[object|undefined|NaN|\bnull\b/)
      }
  })
})

const emptyOf = ({ cluster }: WholeSnapshot) => ({
  ...{ ...cluster, services: [], readyPorts: {}, proxies: {}, namespaces: {} },
})
function httpsMesh(): Mesh {
  const pds = { service: 'apps/pds', ports: [3000], probe: { http: '/' }, mode: 'https', allow: ['panda'] }
  return parseMesh(stringify({ ...raw, machine: 'panda', services: { pds } }), '/mesh.yaml')
}
