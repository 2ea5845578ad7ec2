import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Entry } from '../../../src/journal-records.ts'
import { bookRows, writeBlock } from '../../../src/plan/books.ts'
import { type DriftFacts, findDrift } from '../../../src/plan/drift.ts'
import { type DriftKind, driftId, driftKinds } from '../../../src/plan/drift-kinds.ts'
import { mayRepair } from '../../../src/plan/may-repair.ts'
import { isClusterService, type Mesh, parseMesh } from '../../../src/plan/mesh.ts'
import { addAccess } from '../../../src/plan/policy.ts'
import { wantedAccess } from '../../../src/plan/policy-access.ts'
import { findRoute, removeRoute } from '../../../src/plan/remove-route.ts'
import type { ServiceFacts } from '../../../src/systems/kubernetes-facts.ts'

const credentials = { clientIdFile: '/id', clientSecretFile: '/secret' }
const raw = {
  kubernetes: { context: 'admin@talos' },
  tailnet: 'a.ts.net',
  machine: 'panda',
  tailscale: { credentials },
  operator: { version: '1.102.4', credentials },
  caddy: { file: '/Caddyfile' },
  engine: { url: 'http://localhost:8288' },
  books: '/BOOKS.md',
  services: {
    // Moved.
    qdrant: {
      service: 'apps/qdrant',
      ports: [6333],
      probe: { http: '/' },
      routes: { 'https://panda.a.ts.net:6443': 6333 },
      allow: ['panda', 'clanker'],
    },
    // Retired.
    redis: { service: 'apps/redis', ports: [6379], routes: { 'http://r.a.ts.net': 6379 }, allow: ['panda'] },
    // Not moved.
    inngest: { service: 'apps/inngest-svc', ports: [8288], probe: { http: '/health' }, engine: true },
  },
}
const parsed = (more = {}) => parseMesh(stringify({ ...raw, ...more }), '/mesh.yaml')

const addresses: Record<string, string> = { panda: '100.64.0.1', clanker: '100.64.0.2' }
const device = (name: string, more = {}) => ({
  id: `id-${name}`,
  name: `${name}.a.ts.net`,
  hostname: name,
  addresses: [addresses[name] ?? `100.64.1.${name.length}`],
  tags: addresses[name] ? [] : [`tag:svc-${name}`],
  online: true,
  lastSeen: '2026-11-25T10:00:00Z',
  ...more,
})
const operatorDevice = device('tailscale-operator', { tags: ['tag:k8s-operator'] })
const devices = () => [device('panda'), device('clanker'), device('qdrant'), device('redis'), operatorDevice]

const caddyText = [
  'https://panda.a.ts.net:6443 {\n\treverse_proxy qdrant.a.ts.net:6333\n}\n',
  'http://r.a.ts.net {\n\treverse_proxy redis.a.ts.net:6379\n}\n',
].join('')
const route = findRoute(caddyText, {
  file: '/Caddyfile',
  site: 'http://r.a.ts.net',
  upstream: 'redis.a.ts.net:6379',
})

const expose = (name: string, port: number) => {
  const annotations = {
    'tailscale.com/expose': { value: 'true', manager: 'onehop' },
    'tailscale.com/hostname': { value: name, manager: 'onehop' },
    'tailscale.com/tags': { value: `tag:svc-${name}`, manager: 'onehop' },
  }
  const of = { namespace: 'apps', name, uid: `uid-${name}` }
  const ports = [{ name: '', port, nodePort: port }]
  const before = {
    ...of,
    annotations: Object.fromEntries(Object.keys(annotations).map((key) => [key, null])),
    seen: { type: 'NodePort', ports },
  }
  const facts: ServiceFacts = {
    ...of,
    resourceVersion: '1',
    type: 'NodePort',
    clusterIP: '10.0.0.1',
    annotations,
    finalizers: [],
    ports,
    typeManager: 'kubectl',
  }
  return { before, target: { ...of, annotations }, uid: of.uid, facts }
}
const exposed = { qdrant: expose('qdrant', 6333), redis: expose('redis', 6379) }

const firstPolicy =
  '{\n  "tagOwners": {"tag:k8s-operator": []},\n  "grants": [\n    {"src": ["joel@"], "dst": ["panda"], "ip": ["*"]},\n  ],\n}\n'
const written = policyOf(parsed())
function policyOf(mesh: Mesh) {
  const wanted = mesh.services
    .filter(isClusterService)
    .flatMap((each) => wantedAccess(mesh, each, devices()) ?? [])
  let text = firstPolicy
  const added: Record<string, ReturnType<typeof addAccess>['added']> = {}
  for (const access of wanted) {
    const edited = addAccess(text, access)
    text = edited.text
    added[access.service] = edited.added
  }
  return { text, added, access: Object.fromEntries(wanted.map((each) => [each.service, each])) }
}

const entry = (service: 'qdrant' | 'redis', state: Entry['state'], changes: Entry['changes']): Entry => ({
  version: 1,
  service,
  attempt: 1,
  state,
  request: 'r',
  run: 'run',
  cluster: 'cluster-1',
  tailnet: 'a.ts.net',
  ended: { r: { state: 'moved', at: '2026-11-01T00:00:00Z' } },
  changes: [
    {
      id: 'allow',
      before: null,
      target: { access: written.access[service], added: written.added[service], wide: false },
      undone: false,
    },
    {
      id: 'expose',
      before: structuredClone(exposed[service].before),
      target: exposed[service].target,
      uid: exposed[service].uid,
      undone: false,
    },
    ...changes,
  ],
})
const switched = (site: string, from: string, to: string): Entry['changes'][number] => ({
  id: 'switch',
  before: { file: '/Caddyfile', routes: [{ site, upstream: from }] },
  target: { file: '/Caddyfile', routes: [{ site, upstream: to }] },
  undone: false,
})

/** A mesh in which all is as it was left, for a case to break. */
function healthy(): Changeable {
  const mesh = parsed()
  const text = removeRoute(caddyText, route)
  const redis = {
    ...structuredClone(exposed.redis.facts),
    type: 'ClusterIP',
    ports: [{ name: '', port: 6379 }],
  }
  const journal = [
    entry('qdrant', 'moved', [
      switched('https://panda.a.ts.net:6443', 'localhost:6333', 'qdrant.a.ts.net:6333'),
    ]),
    entry('redis', 'retired', [
      switched('http://r.a.ts.net', 'localhost:6379', 'redis.a.ts.net:6379'),
      { id: 'type', before: {}, target: {}, undone: false },
      {
        id: 'route',
        before: { file: '/Caddyfile', removed: false, routes: [route] },
        target: {},
        undone: false,
      },
    ]),
  ]
  const proxy = (name: string) => ({
    fqdn: `${name}.a.ts.net`,
    deviceId: `id-${name}`,
    addresses: device(name).addresses,
    current: true,
  })
  const path = (name: string) => ({ silent: [], magicDns: device(name).addresses })
  return {
    mesh,
    snapshot: {
      cluster: {
        id: 'cluster-1',
        services: [structuredClone(exposed.qdrant.facts), redis],
        namespaces: { tailscale: 'privileged' },
        readyPorts: { 'apps/qdrant': [''], 'apps/redis': [''] },
        proxies: { 'apps/qdrant': proxy('qdrant'), 'apps/redis': proxy('redis') },
        operator: { version: '1.102.4', ours: true, running: true, message: '1 replicas ready' },
        proxyClassReady: true,
      },
      tailnet: { devices: devices() },
      policy: written.text,
      tailscaled: { peers: {} },
      caddy: { version: '2.11.0', text, adapted: { a: 1 }, running: { a: 1 } },
      journal,
      failures: [],
    },
    paths: { qdrant: path('qdrant'), redis: path('redis') },
    books: writeBlock('# Books\n', bookRows(mesh, journal), '/BOOKS.md'),
    secret: 'same',
  }
}
type Changeable = DriftFacts & {
  snapshot: Required<Pick<DriftFacts['snapshot'], 'cluster' | 'tailnet' | 'policy' | 'caddy'>> &
    DriftFacts['snapshot']
}
type Case = [id: `${DriftKind} ${string}`, make: (facts: Changeable) => void, says: RegExp, repaired: boolean]

const of = (facts: Changeable, name: string) => {
  const found = facts.snapshot.cluster.services.find((each) => each.name === name)
  if (!found) throw new Error(name)
  return found
}
const proxyOf = (facts: Changeable, name: string) => {
  const found = facts.snapshot.cluster.proxies[`apps/${name}`]
  if (!found) throw new Error(name)
  return found
}
const operatorOf = (facts: Changeable) => {
  const { operator } = facts.snapshot.cluster
  if (!operator) throw new Error('no operator')
  return operator
}
const kubectl = (value: string) => ({ value, manager: 'kubectl-annotate' })
const withPolicy = (facts: Changeable, change: (text: string) => string) => {
  const { policy } = facts.snapshot
  facts.snapshot.policy = change(policy)
  if (facts.snapshot.policy === policy) throw new Error('the policy did not change')
}
const without = (pattern: RegExp) => (text: string) =>
  text
    .split('\n')
    .filter((line) => !pattern.test(line))
    .join('\n')

const cases: Case[] = [
  ['service-gone qdrant', (f) => f.snapshot.cluster.services.shift(), /there is no Service apps\/qdrant/, false],
  ['service-gone redis', (f) => { of(f, 'redis').uid = 'another' }, /deleted and made again/, false],
  ['annotation-gone qdrant', (f) => { delete of(f, 'qdrant').annotations['tailscale.com/expose'] }, /expose is gone, it was true/, true],
  ['annotation-gone redis', (f) => { of(f, 'redis').annotations['tailscale.com/expose'] = kubectl('false') }, /expose is false/, true],
  ['hostname-changed qdrant', (f) => { of(f, 'qdrant').annotations['tailscale.com/hostname'] = kubectl('q') }, /is q, it was qdrant/, true],
  ['tag-edited qdrant', (f) => { of(f, 'qdrant').annotations['tailscale.com/tags'] = kubectl('tag:x') }, /keeps the tag that it has/, true],
  ['type-back redis', (f) => { of(f, 'redis').type = 'NodePort' }, /is a NodePort again/, true],
  ['type-back redis', (f) => { of(f, 'redis').type = 'LoadBalancer' }, /is a LoadBalancer, it was a ClusterIP/, false],
  ['nodeport-gone qdrant', (f) => { of(f, 'qdrant').type = 'ClusterIP' }, /it was a NodePort/, false],
  ['nodeport-changed qdrant', (f) => { of(f, 'qdrant').ports = [{ name: '', port: 6333, nodePort: 31000 }] }, /node port 31000, it was 6333/, false],
  ['ports-changed qdrant', (f) => { of(f, 'qdrant').ports.push({ name: 'x', port: 9, nodePort: 9 }) }, /has the ports 9, 6333/, false],
  ['ports-changed redis', (f) => { of(f, 'redis').ports = [{ name: '', port: 6380 }] }, /has the ports 6380, it was moved with 6379/, false],
  ['no-endpoints qdrant', (f) => { f.snapshot.cluster.readyPorts['apps/qdrant'] = [] }, /no ready endpoint for port 6333/, false],
  ['device-renamed qdrant', (f) => { proxyOf(f, 'qdrant').fqdn = 'qdrant-1.a.ts.net' }, /is called qdrant-1.a.ts.net/, true],
  ['device-offline qdrant', (f) => { Object.assign(f.snapshot.tailnet.devices[2] ?? {}, { online: false }) }, /not connected/, false],
  ['device-deleted qdrant', (f) => { f.snapshot.tailnet.devices.splice(2, 1) }, /not on the tailnet any more/, true],
  ['login-key-spent qdrant', (f) => { Object.assign(proxyOf(f, 'qdrant'), { keySpent: true, trouble: 't' }) }, /reissue_authkey/, true],
  ['proxy-missing qdrant', (f) => { delete f.snapshot.cluster.proxies['apps/qdrant'] }, /no proxy for apps\/qdrant/, false],
  ['proxy-stuck qdrant', (f) => { proxyOf(f, 'qdrant').trouble = 'ImagePullBackOff' }, /ImagePullBackOff/, true],
  ['proxyclass-unready operator', (f) => { f.snapshot.cluster.proxyClassReady = false }, /not Ready/, true],
  ['operator-gone operator', (f) => { delete f.snapshot.cluster.operator }, /no operator in namespace tailscale/, true],
  ['operator-down operator', (f) => { operatorOf(f).running = false }, /does not run/, false],
  ['operator-version operator', (f) => { operatorOf(f).version = '1.100.0' }, /is 1.100.0, mesh.yaml pins 1.102.4/, true],
  ['operator-deaf operator', (f) => { f.snapshot.tailnet.devices.pop() }, /not on the tailnet/, false],
  ['namespace-label-gone operator', (f) => { f.snapshot.cluster.namespaces.tailscale = '' }, /enforces nothing/, true],
  ['secret-changed operator', (f) => { f.secret = 'changed' }, /not what the credential files say/, true],
  ['secret-changed operator', (f) => { f.secret = 'gone'; operatorOf(f).ours = false }, /operator-oauth is gone/, true],
  ['grant-gone redis', (f) => withPolicy(f, without(/"src": \["panda"\].*onehop: redis/)), /has lost grants/, true],
  ['grant-widened redis', (f) => withPolicy(f, (text) => text.replace('{"src": ["panda"], "dst": ["tag:svc-redis"]', '{"src": ["panda", "joel@"], "dst": ["tag:svc-redis"]')), /lets more in/, true],
  ['grant-widened redis', (f) => withPolicy(f, (text) => text.replace('"grants": [\n', '"grants": [\n    {"src": ["clanker"], "dst": ["tag:svc-redis"], "ip": ["*"]},\n')), /lets clanker reach tag:svc-redis:6379/, false],
  ['rule-for-all policy', (f) => withPolicy(f, (text) => text.replace('"grants": [\n', '"grants": [\n    {"src": ["*"], "dst": ["*"], "ip": ["*"]},\n')), /lets everything reach everything/, false],
  ['policy-test-gone redis', (f) => withPolicy(f, without(/"accept".*onehop: redis/)), /has lost the test/, true],
  ['caddy-not-running caddy', (f) => { f.snapshot.caddy.running = { a: 2 } }, /first difference: \/a/, false],
  ['caddy-not-running caddy', (f) => { Object.assign(f.snapshot.caddy, { running: { a: 2 }, variables: [{ name: 'UP', file: '/Caddyfile', line: 3, isSet: false, hasDefault: false }] }) }, /\{\$UP\} \(line 3, not set here\)/, false],
  ['route-elsewhere qdrant', (f) => { f.snapshot.caddy.text = f.snapshot.caddy.text.replace('qdrant.a.ts.net:6333', 'localhost:6333') }, /its old upstream/, true],
  ['route-elsewhere qdrant', (f) => { f.snapshot.caddy.text = f.snapshot.caddy.text.replace('qdrant.a.ts.net:6333', 'a:1 b:2') }, /goes to a:1/, false],
  ['route-back redis', (f) => { f.snapshot.caddy.text = caddyText }, /goes to redis.a.ts.net:6379 again/, true],
  ['fell-back qdrant', (f) => { Object.assign(f.snapshot.journal[0] ?? {}, { fellBack: { at: 'then', why: 'silent' } }) }, /since then: silent/, false],
  ['device-silent qdrant', (f) => { f.paths.qdrant?.silent.push({ name: 'qdrant.a.ts.net', port: 6333, message: 'refused' }) }, /6333 does not answer: refused/, false],
  ['name-elsewhere qdrant', (f) => { Object.assign(f.paths.qdrant ?? {}, { magicDns: ['100.64.9.9'] }) }, /answers 100.64.9.9/, false],
  ['engine-open http://x:1', (f) => { f.snapshot.caddy.text += 'http://x:1 {\n\treverse_proxy localhost:8288\n}\n' }, /leads to the engine/, false],
  ['books-edited books', (f) => { f.books = f.books?.replace('| qdrant |', '| q |') }, /not what it wrote/, true],
  ['exposed-elsewhere apps/by-hand', (f) => { f.snapshot.cluster.services.push({ ...of(f, 'redis'), name: 'by-hand', uid: 'u' }) }, /mesh.yaml does not name it/, false],
] // biome-ignore format: one line for each case

test('what is as it was left is no drift', () => {
  expect(findDrift(healthy())).toMatchObject({ drifts: [], known: [], unread: [], checked: 2 })
})

test.for(cases)(
  '%s: alone, with what was found, and a repair only where there is one',
  ([id, make, says, repaired]) => {
    const facts = healthy()
    make(facts)
    const { drifts } = findDrift(facts)
    expect(drifts.map(driftId)).toEqual([id])
    expect(drifts[0]?.what).toMatch(says)
    expect(drifts[0]?.mend !== undefined).toBe(repaired)
    expect(drifts[0]?.repair !== undefined).toBe(repaired)
    expect(drifts[0]?.cure).not.toBe('')
  },
)

test('what only follows is not told beside its cause', () => {
  const facts = healthy()
  facts.snapshot.tailnet.devices.splice(2, 1)
  facts.paths.qdrant = { silent: [{ name: 'q', port: 6333, message: 'no answer' }], magicDns: [] }
  expect(findDrift(facts).drifts.map(driftId)).toEqual(['device-deleted qdrant'])
})

test('two routes of one service that lead elsewhere are one drift, mended only where both can be', () => {
  const second = 'https://q.a.ts.net'
  const of = (upstream: string) => {
    const facts = healthy()
    const change = facts.snapshot.journal[0]?.changes.find((each) => each.id === 'switch')
    const add = (state: unknown, to: string) =>
      (state as { routes: unknown[] }).routes.push({ site: second, upstream: to })
    add(change?.before, 'localhost:6333')
    add(change?.target, 'qdrant.a.ts.net:6333')
    facts.snapshot.caddy.text = facts.snapshot.caddy.text.replace('qdrant.a.ts.net:6333', 'localhost:6333')
    facts.snapshot.caddy.text += `${second} {\n\treverse_proxy ${upstream}\n}\n`
    return findDrift(facts).drifts
  }
  const [both, ...others] = of('localhost:6333')
  expect(others).toEqual([])
  expect(both).toMatchObject({ kind: 'route-elsewhere', mend: 'again:switch' })
  expect(both?.what).toMatch(/panda.a.ts.net:6443 goes to.*; .*q.a.ts.net goes to/)
  const [one] = of('a:1 b:2')
  expect(one?.mend).toBeUndefined()
  expect(one?.cure).toContain(`lead ${second} to`)
})

test('where the ports at the move were not kept, as of an Ingress, those of mesh.yaml are missed', () => {
  const facts = healthy()
  const expose = facts.snapshot.journal[0]?.changes.find((each) => each.id === 'expose')
  Object.assign(expose?.before ?? {}, { seen: undefined })
  of(facts, 'qdrant').ports.push({ name: 'x', port: 9 })
  expect(findDrift(facts).drifts).toEqual([])
  of(facts, 'qdrant').ports.shift()
  expect(findDrift(facts).drifts.map(driftId)).toEqual(['ports-changed qdrant'])
})

test('a retired service is not rolled back by a repair', () => {
  const facts = healthy()
  facts.snapshot.tailnet.devices.splice(3, 1)
  const [drift] = findDrift(facts).drifts
  expect(drift).toMatchObject({
    kind: 'device-deleted',
    subject: 'redis',
    cure: expect.stringContaining('onehop rollback redis'),
  })
  expect(drift?.mend).toBeUndefined()
})

test.for<[string, (facts: Changeable) => void]>([
  ['down', (f) => { operatorOf(f).running = false }],
  ['off the tailnet', (f) => { f.snapshot.tailnet.devices.pop() }],
  ['gone', (f) => { delete f.snapshot.cluster.operator }],
])('nothing is moved anew while the operator is %s', ([, make]) => {
  const facts = healthy()
  Object.assign(proxyOf(facts, 'qdrant'), { keySpent: true })
  make(facts)
  const drift = findDrift(facts).drifts.find((each) => each.kind === 'login-key-spent')
  expect(drift).toMatchObject({ cure: expect.stringContaining('first the operator must run') })
  expect(drift?.mend).toBeUndefined()
}) // biome-ignore format: one line for each case

test('a proxy whose trouble may pass by itself is not stuck yet', () => {
  const facts = healthy()
  Object.assign(proxyOf(facts, 'qdrant'), { trouble: 'CrashLoopBackOff', mayPass: true })
  expect(findDrift(facts).drifts).toEqual([])
})

test('a name that somebody else holds is freed first: another device would get the next suffix', () => {
  const facts = healthy()
  facts.snapshot.tailnet.devices.push(device('qdrant', { id: 'stranger' }))
  Object.assign(facts.snapshot.tailnet.devices[2] ?? {}, { name: 'qdrant-1.a.ts.net' })
  const [drift] = findDrift(facts).drifts
  expect(drift).toMatchObject({ kind: 'device-renamed', cause: expect.stringContaining('held by stranger') })
  expect(drift?.mend).toBeUndefined()
})

test('a test that was not written at the move is not missed, though it would be written now', () => {
  const facts = healthy()
  const [qdrant] = facts.snapshot.journal
  const allow = qdrant?.changes.find((each) => each.id === 'allow')
  const target = allow?.target as { added: Array<{ at: string[] }> }
  // As after a move under a rule for all, which has been narrowed since.
  Object.assign(target, { added: target.added.filter(({ at }) => at[0] !== 'tests') })
  withPolicy(facts, without(/"(accept|deny)".*onehop: qdrant/))
  expect(findDrift(facts).drifts).toEqual([])
})

test('what mesh.yaml calls known is folded away, by kind or by kind and subject', () => {
  for (const known of ['no-endpoints', 'no-endpoints qdrant']) {
    const facts = { ...healthy(), mesh: parsed({ drift: { known: [known] } }) }
    facts.snapshot.cluster.readyPorts['apps/qdrant'] = []
    const found = findDrift(facts)
    expect(found.drifts).toEqual([])
    expect(found.known.map(driftId)).toEqual(['no-endpoints qdrant'])
  }
  const facts = { ...healthy(), mesh: parsed({ drift: { known: ['no-endpoints redis'] } }) }
  facts.snapshot.cluster.readyPorts['apps/qdrant'] = []
  expect(findDrift(facts).drifts.map(driftId)).toEqual(['no-endpoints qdrant'])
})

test('a MagicDNS that does not answer is no other address: the paths of that service are not seen', () => {
  const facts = healthy()
  Object.assign(facts.paths.qdrant ?? {}, { magicDns: 'queryA ETIMEOUT qdrant.a.ts.net' })
  const { drifts, unseen } = findDrift(facts)
  expect(drifts).toEqual([])
  expect(unseen).toMatchObject([
    { subject: 'qdrant', part: 'paths', why: expect.stringContaining('ETIMEOUT') },
  ])
  Object.assign(facts.paths.qdrant ?? {}, { magicDns: [] })
  expect(findDrift(facts).drifts.map(driftId)).toEqual(['name-elsewhere qdrant'])
})

test('of what could not be read nothing is said, and it is named', () => {
  const facts = healthy()
  const { cluster: _, tailnet: __, policy: ___, caddy: ____, ...rest } = facts.snapshot
  const found = findDrift({ ...facts, snapshot: rest, secret: undefined, books: undefined })
  expect(found.drifts).toEqual([])
  expect(found.unread.toSorted()).toEqual([
    ...['books', 'caddy', 'cluster', 'paths', 'policy', 'secret', 'tailnet'],
  ])
})

test.for(['cluster', 'tailnet', 'policy', 'caddy'] as const)(
  'without the %s, a drift is still found or its part is named as unread, and none is made up',
  (part) => {
    for (const [id, make] of cases) {
      const facts = healthy()
      make(facts)
      const { [part]: _, ...rest } = facts.snapshot
      const { drifts, unread } = findDrift({ ...facts, snapshot: rest })
      const [kind] = id.split(' ') as [DriftKind]
      expect([[], [id]]).toContainEqual(drifts.map(driftId))
      // What is neither found nor unread is told to be over.
      if (drifts.length === 0) expect(unread, id).toContain(driftKinds[kind].part)
    }
  },
)

test('nothing is rolled back and moved again while it is not known whether the operator is on the tailnet', () => {
  const facts = healthy()
  proxyOf(facts, 'qdrant').trouble = 'ImagePullBackOff'
  expect(findDrift(facts).drifts[0]).toMatchObject({ kind: 'proxy-stuck', mend: 'anew' })
  const { tailnet: _, ...rest } = facts.snapshot
  const [stuck] = findDrift({ ...facts, snapshot: rest }).drifts
  expect(stuck).toMatchObject({ kind: 'proxy-stuck', cure: expect.stringContaining('first the operator') })
  expect(stuck?.mend).toBeUndefined()
})

test('what is restored, on its way or unknown to mesh.yaml is not looked at', () => {
  const facts = healthy()
  facts.snapshot.cluster.services = []
  for (const each of facts.snapshot.journal) each.state = 'rolling-back'
  facts.books = writeBlock('# Books\n', [], '/BOOKS.md')
  const unseen = ['qdrant', 'redis'].map((subject) => ({ subject, why: 'it is rolling-back' }))
  expect(findDrift(facts)).toMatchObject({ drifts: [], checked: 0, unseen })
  for (const each of facts.snapshot.journal) each.state = 'restored'
  expect(findDrift(facts)).toMatchObject({ drifts: [], checked: 0, unseen: [] })
})

describe('what is repaired by itself', () => {
  const drift = (facts: Changeable) => {
    facts.snapshot.cluster.namespaces.tailscale = ''
    of(facts, 'qdrant').annotations['tailscale.com/hostname'] = kubectl('q')
    return findDrift(facts).drifts
  }
  const allowed = (general: unknown, own?: unknown) => {
    const services = {
      ...raw.services,
      qdrant: { ...raw.services.qdrant, ...(own !== undefined && { repair: own }) },
    }
    const mesh = parsed({ drift: { repair: general }, services })
    return drift(healthy())
      .filter((each) => mayRepair(mesh, each))
      .map((each) => each.kind)
  }
  test('nothing, unless mesh.yaml says so', () => expect(allowed(false)).toEqual([]))
  test('all of it', () => expect(allowed(true)).toEqual(['hostname-changed', 'namespace-label-gone']))
  test('some kinds', () => expect(allowed(['namespace-label-gone'])).toEqual(['namespace-label-gone']))
  test("a service's own word comes first", () => {
    expect(allowed(true, false)).toEqual(['namespace-label-gone'])
    expect(allowed(false, ['hostname-changed'])).toEqual(['hostname-changed'])
    expect(allowed(false, ['tag-edited'])).toEqual([])
  })
  test('never what cannot be repaired', () => {
    const facts = healthy()
    facts.snapshot.cluster.readyPorts['apps/qdrant'] = []
    const mesh = parsed({ drift: { repair: true } })
    expect(findDrift(facts).drifts.filter((each) => mayRepair(mesh, each))).toEqual([])
  })
})
