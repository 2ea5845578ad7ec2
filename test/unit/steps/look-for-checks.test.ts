import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { OnehopError } from '../../../src/errors.ts'
import { openJournal } from '../../../src/journal.ts'
import type { CheckFacts } from '../../../src/plan/check-facts.ts'
import { judgeChecks } from '../../../src/plan/checks.ts'
import { type Mesh, parseMesh, selectServices } from '../../../src/plan/mesh.ts'
import { lookForChecks } from '../../../src/steps/look-for-checks.ts'
import { type CheckingSystems, createCheckingSystems } from '../../../src/systems/checking-systems.ts'

let folder: string
let mesh: Mesh
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-checks-'))
  for (const file of ['id', 'secret', 'oid', 'osecret'])
    writeFileSync(join(folder, file), file, { mode: 0o600 })
  mesh = parseMesh(
    stringify({
      kubernetes: { context: 'c', kubeconfig: 'kubeconfig' },
      tailnet: 'a.ts.net',
      machine: 'panda',
      tailscale: { credentials: { clientIdFile: 'id', clientSecretFile: 'secret' } },
      operator: { version: '1.102.4', credentials: { clientIdFile: 'oid', clientSecretFile: 'osecret' } },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://localhost:8288' },
      deadlines: { check: 0.5 },
      state: 'state',
      services: {
        redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] },
        qdrant: { service: 'apps/qdrant', ports: [6333] },
      },
    }),
    join(folder, 'mesh.yaml'),
  )
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const never = () => new Promise<never>(() => {})
const answer = { ok: true as const, ms: 1 }

/** The real reading of files, and of everything else what is given; what is not given is never answered. */
function systems(given: Record<string, unknown> = {}): CheckingSystems {
  const silent = {
    resolverAnswers: async () => true,
    tailscale: silentClient('id'),
    operatorClient: silentClient('oid'),
    cluster: never,
    helmVersion: never,
    caddy: { running: never, version: never, readFile: never, compareFile: never },
    engine: { health: never, app: never },
    worker: async () => undefined,
    probes: { resolve: never, tcp: async () => answer, http: never, https: never, redis: never },
  }
  const real = createCheckingSystems(mesh)
  return { ...real, ...silent, ...given } as unknown as CheckingSystems
}
const silentClient = (id: string) => ({
  clientId: async () => id,
  ...{ signIn: never, devices: never, policy: never, peers: never, refuseManagedElsewhere: never },
})

const look = (given?: Record<string, unknown>) => lookForChecks(mesh, systems(given), selectServices(mesh))
const crosses = (facts: CheckFacts) =>
  judgeChecks(mesh, facts, { before: true }).flatMap(({ service, checks }) =>
    checks.flatMap(({ id, status }) => (status === 'cross' ? [service ? `${service}/${id}` : id] : [])),
  )

describe('where nothing at all answers', () => {
  test('it ends, and each system is named once', async () => {
    const facts = await look()
    expect(crosses(facts)).toEqual([
      ...['tailscale-api-answers', 'tailscaled-answers', 'cluster-answers'],
      ...['caddy-answers', 'caddy-version', 'caddy-file-readable', 'engine-answers'],
    ])
    expect(facts.failures['cluster-answers']?.message).toContain('no answer in 0.5 s')
  })

  test('what was asked first and stopped then counts as a system that is down', async () => {
    const kubernetes = { clusterId: async () => 'uid', services: never, namespaces: never, readyPorts: never }
    const cluster = {
      kubernetes: { ...kubernetes, proxies: never, operator: never },
      rights: { refused: never },
    }
    const facts = await look({
      cluster: async () => cluster,
      tailscale: { ...silentClient('id'), signIn: async () => undefined, peers: async () => ({}) },
    })
    expect(crosses(facts)).not.toContain('tailscaled-answers')
    expect(facts.failures).toMatchObject({
      'cluster-answers': { code: 'kubernetes-unreachable' },
      'tailscale-api-answers': { code: 'tailscale-unreachable' },
    })
  })

  test('no name is looked up while the resolver is silent', async () => {
    const asked: string[] = []
    const client = {
      ...silentClient('id'),
      signIn: async () => void asked.push('token'),
      peers: async () => ({ 'panda.a.ts.net': { addresses: ['100.64.0.1'], reachable: true, direct: true } }),
    }
    const facts = await look({
      resolverAnswers: async () => false,
      tailscale: client,
      operatorClient: client,
      probes: { resolve: async () => void asked.push('names'), tcp: async () => answer },
    })
    expect(asked).toEqual([])
    expect(facts.failures['tailscale-api-answers']?.message).toContain('the resolver of this machine')
    expect(crosses(facts)).toContain('magicdns-accepted')
  })
})

describe('a failure is told by the check that it is about', () => {
  const refused = () => Promise.reject(new OnehopError('tailscale-refused', { action: 'a', status: 403 }))

  test.each([
    ['tailscale-rights', { tailscale: { ...silentClient('id'), signIn: refused } }],
    ['operator-client-accepted', { operatorClient: { ...silentClient('oid'), signIn: refused } }],
    [
      'cluster-readable',
      { cluster: () => Promise.reject(new OnehopError('kubernetes-refused', { action: 'a' })) },
    ],
    ['cluster-answers', { cluster: () => Promise.reject(new Error('ENOENT: no kubeconfig')) }],
    [
      'policy-parses',
      {
        tailscale: {
          ...silentClient('id'),
          signIn: async () => undefined,
          policy: async () => ({ text: '{', etag: '' }),
        },
      },
    ],
  ])('%s', async (id, given) => {
    const { failures } = await look(given)
    expect(Object.keys(failures)).toContain(id)
  })

  test('a right that is missing, with the word for it', async () => {
    const cluster = {
      kubernetes: { clusterId: async () => 'uid', services: never },
      rights: { refused: async (rights: unknown[]) => rights.slice(0, 1) },
    }
    const { failures } = await look({ cluster: async () => cluster })
    expect(failures['cluster-writable']?.message).toBe(
      'the cluster refused patch services in namespace apps: it is not allowed to (RBAC)',
    )
  })

  test('a key file that is missing, and one that others may read', async () => {
    rmSync(join(folder, 'osecret'))
    chmodSync(join(folder, 'secret'), 0o644)
    const { failures, keyFiles } = await look()
    expect(failures['operator-key-files']).toMatchObject({ code: 'credentials-missing' })
    expect(failures).not.toHaveProperty('tailscale-key-files')
    expect(keyFiles).toContainEqual({ file: join(folder, 'secret'), mode: 0o644 })
  })

  test('one OAuth client for both', async () => {
    expect((await look({ operatorClient: silentClient('id') })).sharedClient).toBe(true)
    expect((await look()).sharedClient).toBe(false)
  })
})

describe('the paths', () => {
  const peers = { 'qdrant.a.ts.net': { addresses: ['100.64.0.7'], reachable: true, direct: true } }
  const dialled: string[] = []
  const probes = {
    resolve: async () => ({ magicDns: ['100.64.0.7'], system: ['100.64.0.7'] }),
    tcp: async ({ host, port }: { host: string; port: number }) => {
      dialled.push(`${host}:${port}`)
      return answer
    },
  }
  const move = async (service: string) => {
    const journal = await openJournal(mesh.state)
    const start = { request: 'r', run: 'r', cluster: 'c', tailnet: 'a.ts.net' }
    const { attempt } = await journal.begin(service, start)
    await journal.end(service, attempt, { state: 'moved' })
  }

  test('of what is moved are its device name, and never its port map; of the rest its port map', async () => {
    await move('qdrant')
    const tailscale = { ...silentClient('id'), peers: async () => peers }
    const { paths } = await look({ tailscale, probes })
    expect(dialled.sort()).toEqual(['localhost:6379', 'qdrant.a.ts.net:6333'])
    expect(Object.keys(paths.qdrant ?? {}).sort()).toEqual(['device', 'names'])
  })

  test('of what is moved are not asked without tailscaled', async () => {
    await move('qdrant')
    const { paths } = await look({ probes })
    expect(paths.qdrant).toEqual({})
  })

  test('are asked a second time before they count as silent', async () => {
    let times = 0
    const lost = { ok: false as const, ms: 1, message: 'lost', refused: false }
    const tcp = async () => (times++ < 2 ? lost : answer)
    const { paths } = await look({ probes: { ...probes, tcp } })
    expect(paths.redis?.portMaps?.[0]?.answer).toEqual(answer)
  })
})
