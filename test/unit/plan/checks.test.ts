import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { OnehopError } from '../../../src/errors.ts'
import type { Entry } from '../../../src/journal-records.ts'
import type { CheckFacts } from '../../../src/plan/check-facts.ts'
import { type CheckId, checkIds, checkRow } from '../../../src/plan/check-table.ts'
import { type AskedChecks, type Checked, judgeChecks } from '../../../src/plan/checks.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { countChecks, renderChecks } from '../../../src/plan/render-checks.ts'

const credentials = { clientIdFile: '/id', clientSecretFile: '/secret' }
const raw = {
  kubernetes: { context: 'admin@talos' },
  tailnet: 'a.ts.net',
  tailscale: { credentials },
  operator: { version: '1.102.4', credentials: { clientIdFile: '/oid', clientSecretFile: '/osecret' } },
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
    pds: { service: 'apps/pds', ports: [{ port: 3000, portMap: 9627 }], allow: ['panda'] },
    web: { service: 'apps/web', ports: [80], probe: { http: '/' }, mode: 'https' },
  },
}
const mesh = parseMesh(stringify(raw), '/mesh.yaml')

const device = (name: string, tags: string[], more = {}) => ({
  ...{ id: `id of ${name}`, name: `${name}.a.ts.net`, hostname: name, addresses: ['100.64.0.9'], tags },
  ...{ online: true, lastSeen: 'now', ...more },
})
const serviceFacts = (name: string, port: number) => ({
  ...{ namespace: 'apps', name, uid: `uid of ${name}`, resourceVersion: '1', type: 'NodePort' },
  ...{ clusterIP: '10.96.0.7', annotations: {}, finalizers: [], ports: [{ name: '', port, nodePort: port }] },
})
const answered = (port: number, host = 'localhost') => ({
  target: { host, port },
  answer: { ok: true as const, ms: 3 },
})
const silent = (port: number, host = 'localhost') => ({
  target: { host, port },
  answer: { ok: false as const, ms: 3, message: 'connect ECONNREFUSED', refused: true },
})
const policy = `{
  "tagOwners": { "tag:k8s-operator": [], "tag:svc-inngest": ["tag:k8s-operator"], "tag:svc-web": ["tag:k8s-operator"] },
  "grants": [],
}`
const proxy = {
  ...{ fqdn: 'pds.a.ts.net', deviceId: 'id of pds', addresses: ['100.64.0.7'], current: true },
}
/** pds as it is once moved; `world` has it in the journal only where a test asks for it. */
const moved = (more: Partial<Entry> = {}): Entry => ({
  ...{ version: 1, service: 'pds', attempt: 1, state: 'moved', request: 'r', run: 'r' },
  ...{ cluster: 'cluster-1', tailnet: 'a.ts.net', changes: [], ended: {}, ...more },
})
const movedPds =
  (more: Partial<Entry> = {}) =>
  (facts: CheckFacts) => {
    facts.snapshot.journal = [moved(more)]
    facts.paths.pds = {
      names: { magicDns: ['100.64.0.7'], system: ['100.64.0.7'] },
      device: [answered(3000, 'pds.a.ts.net')],
    }
    facts.peers = { 'pds.a.ts.net': { addresses: ['100.64.0.7'], reachable: true, direct: true } }
    of(facts).cluster.proxies['apps/pds'] = proxy
    of(facts).tailnet.devices.push(device('pds', ['tag:svc-pds']))
  }

/** A mesh in which everything holds, with `change` made to it. */
function world(...changes: Array<(facts: CheckFacts) => unknown>): CheckFacts {
  const caddy = 'https://panda.a.ts.net:9443 {\n\treverse_proxy localhost:8288\n}\n'
  const running = { apps: { http: { metrics: {} } } }
  const facts: CheckFacts = {
    snapshot: {
      cluster: {
        id: 'cluster-1',
        services: [serviceFacts('inngest-svc', 8288), serviceFacts('pds', 3000), serviceFacts('web', 80)],
        namespaces: { tailscale: 'privileged' },
        readyPorts: { 'apps/inngest-svc': [''], 'apps/pds': [''], 'apps/web': [''] },
        proxies: {},
        ingresses: [],
        operator: { version: '1.102.4', ours: true, running: true, message: '1 replicas ready' },
        proxyClassReady: true,
      },
      tailnet: {
        devices: [device('panda', []), device('tailscale-operator', ['tag:k8s-operator'])],
      },
      policy,
      tailscaled: { peers: {} },
      caddy: { version: '2.11.9', text: caddy, adapted: running, running },
      journal: [],
      failures: [],
    },
    failures: {},
    requests: [],
    keyFiles: [{ file: '/id', mode: 0o600 }],
    sharedClient: false,
    peers: {},
    dns: {
      name: 'clanker.a.ts.net',
      expected: ['100.64.0.2'],
      magicDns: ['100.64.0.2'],
      system: ['100.64.0.2'],
    },
    caddy: { version: '2.11.9', adapted: running, running },
    app: { name: 'onehop', url: null, connected: true, error: null },
    worker: { engine: 'http://localhost:8288' },
    paths: {
      inngest: { portMaps: [answered(8288)] },
      pds: { portMaps: [answered(9627)] },
      web: { portMaps: [answered(80)] },
    },
  }
  for (const change of changes) change(facts)
  return facts
}
/** The parts of a world that all of them have. */
function of({ snapshot: { cluster, tailnet } }: CheckFacts) {
  if (!cluster || !tailnet) throw new Error('the world has both')
  return { cluster, tailnet }
}

const judge = (facts: CheckFacts, asked?: AskedChecks) => judgeChecks(mesh, facts, asked)
/** What does not hold, by id; of a service as service/id. */
const bad = (facts: CheckFacts, asked?: AskedChecks) =>
  judge(facts, asked).flatMap(({ service, checks }) =>
    checks.flatMap(({ id, status }) => (status === 'tick' ? [] : [service ? `${service}/${id}` : id])),
  )
const find = (facts: CheckFacts, id: CheckId, asked?: AskedChecks): Checked | undefined =>
  judge(facts, asked)
    .flatMap(({ checks }) => checks)
    .find((each) => each.id === id && each.status !== 'tick')
const down =
  (id: CheckId, ...error: ConstructorParameters<typeof OnehopError>) =>
  (facts: CheckFacts) => {
    facts.failures[id] = new OnehopError(...error).toJSON()
  }

test('a healthy mesh has a tick for every check, before and after a move', () => {
  expect(bad(world())).toEqual([])
  expect(bad(world(movedPds()))).toEqual([])
  const shown = [world(), world(movedPds())].flatMap((facts) =>
    judge(facts).flatMap(({ checks }) => checks.map(({ id }) => id)),
  )
  const unshown = checkIds.filter((id) => !shown.includes(id))
  // Only for an operator that is still to be installed.
  expect(unshown).toEqual(['helm-runs'])
  expect(judge(world()).every(({ status, unseen }) => status === 'tick' && !unseen)).toBe(true)
})

const refusal = { action: 'listing devices', status: 403, message: 'no', context: 'admin@talos' }
const cases: Array<[CheckId, string, (facts: CheckFacts) => unknown]> = [
  [
    'state-usable',
    'state-usable',
    down('state-usable', 'journal-unwritable', { folder: '/s', message: 'EROFS' }),
  ],
  [
    'journal-readable',
    'journal-readable',
    down('journal-readable', 'journal-newer', { file: 'f', version: 2 }),
  ],
  [
    'key-files-private',
    'key-files-private',
    (facts) => facts.keyFiles.push({ file: '/secret', mode: 0o640 }),
  ],
  [
    'requests-alive',
    'requests-alive',
    (facts) =>
      facts.requests.push({
        ...{ version: 1, id: 'q', event: 'e', data: {}, run: 'r', state: 'running' },
        ...{ startedAt: '2026-01-01T00:00:00Z', deadline: '2026-01-01T00:00:00Z' },
      }),
  ],
  [
    'tailscale-key-files',
    'tailscale-key-files',
    down('tailscale-key-files', 'credentials-missing', { file: '/id', message: 'ENOENT' }),
  ],
  [
    'tailscale-api-answers',
    'tailscale-api-answers',
    down('tailscale-api-answers', 'tailscale-unreachable', { url: 'u', message: 'no answer' }),
  ],
  ['tailscale-rights', 'tailscale-rights', down('tailscale-rights', 'tailscale-refused', refusal)],
  [
    'tailnet-named',
    'tailnet-named',
    (facts) => {
      for (const each of of(facts).tailnet.devices) each.name = each.name.replace('a.ts.net', 'b.ts.net')
    },
  ],
  [
    'tailscaled-answers',
    'tailscaled-answers',
    down('tailscaled-answers', 'tailscaled-unreachable', { message: 'is it running?' }),
  ],
  [
    'magicdns-accepted',
    'magicdns-accepted',
    (facts) => {
      if (facts.dns) facts.dns.system = 'ENOTFOUND'
    },
  ],
  ['policy-parses', 'policy-parses', down('policy-parses', 'policy-unreadable', { line: 3, message: 'x' })],
  [
    'policy-edited-here',
    'policy-edited-here',
    down('policy-edited-here', 'policy-managed-elsewhere', { link: 'https://git' }),
  ],
  [
    'policy-has-rules',
    'policy-has-rules',
    (facts) => {
      facts.snapshot.policy = policy.replace('"grants": [],', '')
    },
  ],
  [
    'operator-tag-defined',
    'operator-tag-defined',
    (facts) => {
      facts.snapshot.policy = policy.replace('"tag:k8s-operator": [], ', '')
    },
  ],
  [
    'policy-narrow',
    'policy-narrow',
    (facts) => {
      facts.snapshot.policy = policy.replace('[],\n}', '[{"src": ["*"], "dst": ["*"], "ip": ["*"]}],\n}')
    },
  ],
  [
    'tags-needed',
    'tags-needed',
    (facts) => {
      facts.snapshot.policy = policy.replace('{ "tag:k8s', '{ "tag:old": ["tag:k8s-operator"], "tag:k8s')
    },
  ],
  [
    'cluster-answers',
    'cluster-answers',
    down('cluster-answers', 'kubernetes-unreachable', { context: 'c', message: 'ECONNREFUSED' }),
  ],
  ['cluster-readable', 'cluster-readable', down('cluster-readable', 'kubernetes-refused', refusal)],
  ['cluster-writable', 'cluster-writable', down('cluster-writable', 'kubernetes-refused', refusal)],
  [
    'cluster-same',
    'cluster-same',
    (facts) => {
      movedPds({ cluster: 'another' })(facts)
    },
  ],
  [
    'exposed-elsewhere',
    'exposed-elsewhere',
    (facts) =>
      of(facts).cluster.services.push({
        ...serviceFacts('other', 1),
        annotations: { 'tailscale.com/expose': { value: 'true', manager: 'kubectl-edit' } },
      }),
  ],
  [
    'operator-key-files',
    'operator-key-files',
    down('operator-key-files', 'credentials-missing', { file: '/oid', message: 'ENOENT' }),
  ],
  [
    'operator-client-own',
    'operator-client-own',
    (facts) => {
      facts.sharedClient = true
    },
  ],
  [
    'operator-client-accepted',
    'operator-client-accepted',
    down('operator-client-accepted', 'operator-client-refused', { status: 401, message: 'no', file: '/oid' }),
  ],
  [
    'helm-runs',
    'helm-runs',
    (facts) => {
      delete of(facts).cluster.operator
      down('helm-runs', 'helm-missing', { message: 'ENOENT' })(facts)
    },
  ],
  [
    'operator-installed',
    'operator-installed',
    (facts) => {
      movedPds()(facts)
      delete of(facts).cluster.operator
    },
  ],
  ['operator-ours', 'operator-ours', (facts) => Object.assign(operatorOf(facts), { ours: false })],
  [
    'operator-version',
    'operator-version',
    (facts) => Object.assign(operatorOf(facts), { version: '1.90.0' }),
  ],
  [
    'operator-namespace',
    'operator-namespace',
    (facts) => {
      of(facts).cluster.namespaces = { tailscale: '' }
    },
  ],
  [
    'operator-proxyclass',
    'operator-proxyclass',
    (facts) => {
      of(facts).cluster.proxyClassReady = false
    },
  ],
  ['operator-running', 'operator-running', (facts) => Object.assign(operatorOf(facts), { running: false })],
  [
    'operator-on-tailnet',
    'operator-on-tailnet',
    (facts) => {
      for (const each of of(facts).tailnet.devices) each.online = false
    },
  ],
  [
    'caddy-answers',
    'caddy-answers',
    down('caddy-answers', 'caddy-unreachable', { admin: 'a', message: 'ECONNREFUSED' }),
  ],
  ['caddy-version', 'caddy-version', down('caddy-version', 'caddy-missing', { bin: 'caddy', message: 'x' })],
  [
    'caddy-file-readable',
    'caddy-file-readable',
    down('caddy-file-readable', 'caddy-file-unreadable', { file: '/Caddyfile', message: 'EACCES' }),
  ],
  [
    'caddy-file-valid',
    'caddy-file-valid',
    down('caddy-file-valid', 'caddy-edit-refused', { file: '/Caddyfile', message: ':3' }),
  ],
  [
    'caddy-runs-file',
    'caddy-runs-file',
    (facts) => {
      facts.caddy.adapted = { apps: { http: { metrics: {}, servers: {} } } }
    },
  ],
  [
    'caddy-counts',
    'caddy-counts',
    (facts) => {
      facts.caddy = { version: '2.11.9', adapted: {}, running: {} }
    },
  ],
  [
    'engine-answers',
    'engine-answers',
    down('engine-answers', 'engine-unreachable', { url: 'u', message: 'ECONNREFUSED' }),
  ],
  [
    'engine-key-files',
    'engine-key-files',
    down('engine-key-files', 'credentials-missing', { file: '/key', message: 'ENOENT' }),
  ],
  [
    'worker-answers',
    'worker-answers',
    (facts) => {
      delete facts.worker
    },
  ],
  [
    'worker-engine',
    'worker-engine',
    (facts) => {
      facts.worker = { engine: 'http://elsewhere:8288' }
    },
  ],
  [
    'engine-has-worker',
    'engine-has-worker',
    (facts) => {
      facts.app = { name: 'onehop', url: null, connected: false, error: null }
    },
  ],
  ['service-exists', 'pds/service-exists', (facts) => removeService(facts, 'pds')],
  [
    'service-ports',
    'pds/service-ports',
    (facts) => {
      removeService(facts, 'pds')
      of(facts).cluster.services.push(serviceFacts('pds', 3001))
    },
  ],
  [
    'service-endpoints',
    'pds/service-endpoints',
    (facts) => {
      delete of(facts).cluster.readyPorts['apps/pds']
    },
  ],
  ['service-settled', 'pds/service-settled', movedPds({ state: 'rollback-incomplete' })],
  [
    'name-free',
    'pds/name-free',
    (facts) => of(facts).tailnet.devices.push(device('pds', [], { online: false, lastSeen: 'June' })),
  ],
  [
    'tag-owned',
    'web/tag-owned',
    (facts) => {
      facts.snapshot.policy = policy.replace(', "tag:svc-web": ["tag:k8s-operator"]', '')
    },
  ],
  [
    'device-tag',
    'inngest/device-tag',
    (facts) => {
      of(facts).cluster.proxies['apps/inngest-svc'] = { ...proxy, deviceId: 'id of inngest' }
      of(facts).tailnet.devices.push(device('inngest', ['tag:k8s']))
    },
  ],
  [
    'routes-in-file',
    'inngest/routes-in-file',
    (facts) => {
      if (facts.snapshot.caddy) facts.snapshot.caddy.text = ':80\n'
    },
  ],
  [
    'ingress-free',
    'web/ingress-free',
    (facts) =>
      of(facts).cluster.ingresses?.push({
        ...{
          namespace: 'apps',
          name: 'onehop-web',
          uid: 'u',
          resourceVersion: '1',
          ours: false,
          finalizers: [],
        },
      }),
  ],
  [
    'certificates-left',
    'web/certificates-left',
    (facts) => {
      const at = new Date().toISOString()
      const end = { state: 'moved' as const, at, certificate: true }
      const ended = Object.fromEntries([1, 2, 3, 4, 5].map((each) => [each, end]))
      facts.snapshot.journal = [moved({ service: 'web', state: 'restored', ended })]
    },
  ],
  [
    'port-map-answers',
    'pds/port-map-answers',
    (facts) => {
      facts.paths.pds = { portMaps: [silent(9627)] }
    },
  ],
  [
    'device-made',
    'pds/device-made',
    (facts) => {
      movedPds()(facts)
      of(facts).cluster.proxies['apps/pds'] = { ...proxy, trouble: 'ImagePullBackOff' }
    },
  ],
  [
    'device-known',
    'pds/device-known',
    (facts) => {
      movedPds()(facts)
      facts.peers = {}
    },
  ],
  [
    'dns-right',
    'pds/dns-right',
    (facts) => {
      movedPds()(facts)
      facts.paths.pds = { ...facts.paths.pds, names: { magicDns: ['100.64.0.8'], system: ['100.64.0.8'] } }
    },
  ],
  [
    'device-answers',
    'pds/device-answers',
    (facts) => {
      movedPds()(facts)
      facts.paths.pds = { ...facts.paths.pds, device: [silent(3000, 'pds.a.ts.net')] }
    },
  ],
  [
    'not-fallen-back',
    'pds/not-fallen-back',
    movedPds({ fellBack: { at: '2026-11-25T10:00:00Z', why: 'it was silent' } }),
  ],
]
const operatorOf = (facts: CheckFacts) => {
  const { operator } = of(facts).cluster
  if (!operator) throw new Error('the world has one')
  return operator
}
const removeService = (facts: CheckFacts, name: string) => {
  const { cluster } = of(facts)
  cluster.services = cluster.services.filter((each) => each.name !== name)
}

test('each check has a case', () => {
  expect(cases.map(([id]) => id)).toEqual(checkIds)
})

test.each(cases)(
  '%s: only that does not hold, and it says why, with its cure and its page',
  (id, shown, change) => {
    const facts = world(change)
    expect(bad(facts)).toEqual([shown])
    const found = find(facts, id)
    expect(found).toMatchObject({ status: checkRow(id).otherwise, title: checkRow(id).title })
    expect(found?.why).toMatch(/^\S.*\S$/)
    expect(found?.cure).toMatch(/\S/)
    expect(`${found?.why} ${found?.cure}`).not.toMatch(/\{\w+\}|undefined/)
    expect(found?.page).toBe(found?.code ? `docs/runbook/${found.code}.md` : `docs/checks.md#${id}`)
  },
)

describe('a system that is down', () => {
  const clusterDown = world(
    (facts) => {
      delete facts.snapshot.cluster
    },
    down('cluster-answers', 'kubernetes-unreachable', { context: 'admin@talos', message: 'ECONNREFUSED' }),
  )

  test('is one cross in its own group, and one warning in each group that needs it', () => {
    expect(bad(clusterDown)).toEqual(['cluster-answers'])
    const groups = judge(clusterDown)
    expect(groups.find(({ name }) => name === 'cluster')).toMatchObject({ status: 'cross' })
    expect(groups.find(({ name }) => name === 'cluster')).not.toHaveProperty('unseen')
    for (const name of ['operator', 'service pds'])
      expect(groups.find((each) => each.name === name)).toMatchObject({
        status: 'warning',
        unseen: { why: 'not looked at: the cluster did not answer' },
      })
    expect(groups.find(({ name }) => name === 'caddy')).toMatchObject({ status: 'tick' })
    expect(countChecks(groups)).toMatchObject({ crosses: 1, warnings: 4 })
  })

  test('leaves what does not need it looked at', () => {
    const pds = judge(clusterDown).find(({ service }) => service === 'pds')
    expect(pds?.checks.map(({ id }) => id)).toEqual(['service-settled', 'tag-owned', 'port-map-answers'])
    expect(pds?.unseen?.checks).toEqual(
      expect.arrayContaining(['service-exists', 'service-endpoints', 'name-free']),
    )
  })

  test('together with others: each is named, and a group names all that it needs', () => {
    const facts = world(
      (each) => {
        delete each.snapshot.cluster
        delete each.snapshot.tailnet
      },
      down('cluster-answers', 'kubernetes-unreachable', { context: 'c', message: 'x' }),
      down('tailscale-api-answers', 'tailscale-unreachable', { url: 'u', message: 'x' }),
      down('caddy-answers', 'caddy-unreachable', { admin: 'a', message: 'x' }),
      down('engine-answers', 'engine-unreachable', { url: 'u', message: 'x' }),
    )
    expect(bad(facts)).toEqual([
      'tailscale-api-answers',
      'cluster-answers',
      'caddy-answers',
      'engine-answers',
    ])
    expect(judge(facts).find(({ service }) => service === 'inngest')?.unseen?.why).toBe(
      'not looked at: the cluster did not answer; the Tailscale API did not answer; the engine did not answer',
    )
  })

  test('that is skipped is still why the others are not looked at, in its own group too', () => {
    const groups = judge(clusterDown, { skip: ['cluster-answers'] })
    expect(groups.flatMap(({ checks }) => checks.filter(({ status }) => status === 'cross'))).toEqual([])
    expect(groups.find(({ name }) => name === 'cluster')).toMatchObject({
      status: 'warning',
      checks: [],
      unseen: { why: 'not looked at: the cluster did not answer' },
    })
  })
})

describe('what only follows from something else is not told beside it', () => {
  test('a port map that is silent because no pod is ready', () => {
    const facts = world((each) => {
      delete of(each).cluster.readyPorts['apps/pds']
      each.paths.pds = { portMaps: [silent(9627)] }
    })
    expect(bad(facts)).toEqual(['pds/service-endpoints'])
  })

  test('but it is told where that could not be looked at', () => {
    const facts = world(
      (each) => {
        delete each.snapshot.cluster
        each.paths.pds = { portMaps: [silent(9627)] }
      },
      down('cluster-answers', 'kubernetes-unreachable', { context: 'c', message: 'x' }),
    )
    expect(bad(facts)).toEqual(['cluster-answers', 'pds/port-map-answers'])
  })

  test("the engine's own paths, where the engine does not answer", () => {
    const facts = world(
      (each) => {
        each.paths.inngest = { portMaps: [silent(8288)] }
      },
      down('engine-answers', 'engine-unreachable', { url: 'u', message: 'x' }),
    )
    expect(bad(facts)).toEqual(['engine-answers'])
  })
})

describe('before a first move', () => {
  test('--pre has only what must hold then', () => {
    const ids = judge(world(), { before: true }).flatMap(({ checks }) => checks.map(({ id }) => id))
    expect(ids.filter((id) => !checkRow(id).before)).toEqual([])
    expect(ids).toContain('service-endpoints')
  })

  test('an operator that is not there yet is no fault: migrate installs it', () => {
    const facts = world((each) => {
      delete of(each).cluster.operator
      of(each).tailnet.devices = [device('panda', [])]
      of(each).cluster.namespaces = {}
    })
    expect(bad(facts)).toEqual([])
    const operator = judge(facts).find(({ name }) => name === 'operator')
    expect(operator?.checks.find(({ id }) => id === 'operator-installed')?.why).toContain('onehop migrate')
    expect(operator?.checks.map(({ id }) => id)).not.toContain('operator-running')
  })
})

describe('a moved service', () => {
  test('is not blamed for what preflight asks only of those that are not moved', () => {
    expect(bad(world(movedPds({ state: 'retired' })))).toEqual([])
  })

  test('that is retired needs ready endpoints all the same', () => {
    const facts = world(movedPds({ state: 'retired' }), (each) => {
      delete of(each).cluster.readyPorts['apps/pds']
    })
    expect(bad(facts)).toEqual(['pds/service-endpoints'])
  })

  test('that is retired has no routes any more', () => {
    const facts = world((each) => {
      each.snapshot.journal = [moved({ service: 'inngest', state: 'retired' })]
      if (each.snapshot.caddy) each.snapshot.caddy.text = ':80\n'
    })
    expect(bad(facts)).not.toContain('inngest/routes-in-file')
  })

  test('that answers is known, whatever tailscaled says of the way to it', () => {
    const known = (each: CheckFacts) => {
      each.peers = { 'pds.a.ts.net': { addresses: ['100.64.0.7'], reachable: false, direct: false } }
    }
    expect(bad(world(movedPds(), known))).toEqual([])
    const mute = (each: CheckFacts) => {
      each.paths.pds = { ...each.paths.pds, device: [silent(3000, 'pds.a.ts.net')] }
    }
    expect(bad(world(movedPds(), known, mute))).toEqual(['pds/device-known'])
  })

  test('alone is not looked at without tailscaled', () => {
    const facts = world(movedPds(), down('tailscaled-answers', 'tailscaled-unreachable', { message: 'x' }))
    expect(judge(facts).flatMap(({ name, unseen }) => (unseen ? [name] : []))).toEqual(['service pds'])
  })

  test('that was moved with another hostname is told so', () => {
    const target = { annotations: { 'tailscale.com/expose': { value: 'true' } } }
    const changes = [{ id: 'expose' as const, before: {}, target, undone: false }]
    expect(find(world(movedPds({ changes })), 'service-settled')).toMatchObject({ code: 'moved-otherwise' })
  })
})

describe('with engine.serveOrigin', () => {
  const served = parseMesh(
    stringify({ ...raw, engine: { ...raw.engine, serveOrigin: 'http://10.0.0.1:3111' } }),
    '/mesh.yaml',
  )
  const found = (url: string, error: string | null = null) =>
    judgeChecks(served, { ...world(), app: { name: 'onehop', url, connected: false, error } })
      .flatMap(({ checks }) => checks)
      .find(({ id }) => id === 'engine-has-worker')

  test('the engine must call the worker there', () => {
    expect(found('http://10.0.0.1:3111/api/inngest')).toMatchObject({ status: 'tick' })
    expect(found('http://10.0.0.2:3111/api/inngest')?.why).toContain('http://10.0.0.2:3111/api/inngest')
    expect(found('http://10.0.0.1:3111/api/inngest', 'unreachable')?.why).toContain('unreachable')
  })
})

describe('what is asked for', () => {
  const facts = world((each) => {
    delete of(each).cluster.readyPorts['apps/pds']
    delete of(each).cluster.readyPorts['apps/web']
  })

  test('a check can be skipped altogether, or of one service', () => {
    expect(bad(facts)).toEqual(['pds/service-endpoints', 'web/service-endpoints'])
    expect(bad(facts, { skip: ['service-endpoints'] })).toEqual([])
    expect(bad(facts, { skip: ['pds/service-endpoints'] })).toEqual(['web/service-endpoints'])
  })

  test('services can be named', () => {
    const groups = judge(facts, { names: ['web'] })
    expect(groups.flatMap(({ service }) => service ?? [])).toEqual(['web'])
    expect(groups.map(({ name }) => name)).toContain('caddy')
  })
})

describe('as text', () => {
  const facts = world(
    (each) => {
      delete each.snapshot.cluster
    },
    down('cluster-answers', 'kubernetes-unreachable', { context: 'admin@talos', message: 'no\n  answer' }),
  )
  const text = (more = {}) => stripVTControlCharacters(renderChecks(judge(facts), more)).split('\n')

  test('a tick is one line, a cross has its reason, cure and page', () => {
    expect(text()).toContain("  √ caddy-answers  Caddy's admin API answers: http://localhost:2019")
    const at = text().findIndex((line) => line.includes('× cluster-answers'))
    expect(text().slice(at, at + 3)).toEqual([
      '  × cluster-answers  the cluster of context admin@talos does not answer: no answer',
      '      fix: kubectl --context admin@talos get nodes',
      '      more: docs/runbook/kubernetes-unreachable.md',
    ])
    expect(text().at(-1)).toMatch(/^× \d+ good, 4 warnings, 1 cross\. Nothing was touched\.$/)
  })

  test('a warning has its reason and cure, too', () => {
    const warned = world((each) => each.keyFiles.push({ file: '/k', mode: 0o644 }))
    expect(stripVTControlCharacters(renderChecks(judge(warned)))).toContain(
      '  ‼ key-files-private  /k: others may read them too\n      fix: chmod 600 /k\n',
    )
  })

  test('short is one line per group, and what does not hold', () => {
    expect(text({ short: true })).toEqual([
      '√ onehop  4 of 4',
      '√ tailnet  6 of 6',
      '√ policy  6 of 6',
      '× cluster  0 of 1',
      '  × cluster-answers  the cluster of context admin@talos does not answer: no answer',
      '      fix: kubectl --context admin@talos get nodes',
      '      more: docs/runbook/kubernetes-unreachable.md',
      expect.stringMatching(/^‼ operator {2}3 of 1\d$/),
      expect.stringMatching(/^ {2}‼ not looked at: the cluster did not answer {2}\(\d+ checks\)$/),
      '√ caddy  6 of 6',
      '√ engine  5 of 5',
      ...['inngest', 'pds', 'web'].flatMap((name) => [
        expect.stringMatching(new RegExp(`^‼ service ${name}  \\d of \\d+$`)),
        expect.stringMatching(/^ {2}‼ not looked at: the cluster did not answer {2}\(\d+ checks\)$/),
      ]),
      '',
      expect.stringMatching(/^× /),
    ])
  })
})
