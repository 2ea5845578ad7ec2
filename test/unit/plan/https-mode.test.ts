import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Entry } from '../../../src/journal-records.ts'
import { certificatesSpent } from '../../../src/plan/certificates.ts'
import { parseMesh, selectServices } from '../../../src/plan/mesh.ts'
import { deviceName, pathsOf, routesOf } from '../../../src/plan/paths.ts'
import { planMesh, wavesOf } from '../../../src/plan/plan.ts'
import { wantedAccess } from '../../../src/plan/policy-access.ts'
import type { IngressFacts } from '../../../src/systems/ingresses.ts'

const credentials = { clientIdFile: '/id', clientSecretFile: '/secret' }
const search = {
  service: 'apps/typesense',
  ports: [8108],
  probe: { http: '/health' },
  mode: 'https',
  routes: { 'https://panda.a.ts.net:8109': 8108 },
  allow: ['panda'],
}
const parse = (services: object) =>
  parseMesh(
    stringify({
      kubernetes: { context: 'admin@talos' },
      tailnet: 'a.ts.net',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: '/Caddyfile' },
      engine: { url: 'http://localhost:8288' },
      services,
    }),
    '/mesh.yaml',
  )
const mesh = parse({ search })
const service = selectServices(mesh)[0] as ReturnType<typeof selectServices>[number]
const facts = {
  namespace: 'apps',
  name: 'typesense',
  uid: 'u',
  resourceVersion: '1',
  type: 'NodePort',
  clusterIP: '10.96.0.7',
  annotations: {},
  finalizers: [],
  ports: [{ name: '', port: 8108 }],
}
const cluster = (ingresses: IngressFacts[]) => ({
  id: 'c',
  services: [facts],
  namespaces: {},
  readyPorts: { 'apps/typesense': [''] },
  proxies: {},
  ingresses,
})
const theirs: IngressFacts = {
  namespace: 'apps',
  name: 'onehop-search',
  uid: 'i',
  resourceVersion: '1',
  ours: false,
  finalizers: [],
}
const planned = (ingresses: IngressFacts[] = [], journal: Entry[] = []) => {
  const { services, notes } = planMesh(mesh, { cluster: cluster(ingresses), journal, failures: [] })
  return { ...services[0], all: notes }
}

describe('what an Ingress cannot carry is refused with its path', () => {
  test.for([
    ['two ports', { ports: [80, 81] }, 'services.search.ports: mode https has one name for one port'],
    ['redis', { probe: 'redis' }, 'services.search.probe: mode https carries HTTP alone'],
    ['bare TCP', { ports: [{ port: 8108, probe: 'tcp' }] }, 'services.search.probe'],
    ['the engine', { engine: true }, 'services.search.mode: the engine also needs its port for workers'],
    ['another word', { mode: 'tls' }, 'services.search.mode: expected layer3 or https'],
  ] as const)('%s', ([, more, message]) => {
    const { routes: _, ...rest } = search
    expect(() => parse({ search: { ...rest, ...more } })).toThrow(message)
  })
})

test('it answers on 443 under its name, the policy says so, and the old URL stays on the port map', () => {
  expect(deviceName(mesh, service)).toBe('search.a.ts.net')
  expect(pathsOf(mesh, service)).toMatchObject([
    { device: 'https://search.a.ts.net', portMap: 'localhost:8108' },
  ])
  expect(wantedAccess(mesh, service, [])?.ports).toEqual([443])
  expect(routesOf(mesh, service)).toMatchObject([{ from: 'localhost:8108', to: 'localhost:8108' }])
})

test('the plan is one Ingress, with the new URL beside the old one', () => {
  const { changes, notes, all } = planned()
  expect(changes?.map((each) => `${each.sign} ${each.what} | ${each.undo}`)).toEqual([
    '+ Ingress apps/onehop-search, class tailscale: https://search.a.ts.net -> Service typesense:8108 | delete the Ingress; the operator then deletes the device',
  ])
  expect(notes?.join('\n')).toContain('https://panda.a.ts.net:8109 -> https://search.a.ts.net')
  expect(all.join('\n')).not.toContain('no TLS of their own')
})

test("somebody else's Ingress of that name is in the way, ours is not", () => {
  const codes = (ingress: IngressFacts) => planned([ingress]).problems?.map((each) => each.code)
  expect(codes(theirs)).toContain('ingress-taken')
  expect(codes({ ...theirs, ours: true })).not.toContain('ingress-taken')
  expect(planned([{ ...theirs, ours: true }]).changes).toEqual([])
})

test('five exposures in seven days are all that the authority allows', () => {
  const now = Date.parse('2026-11-24T12:00:00Z')
  const entry = (days: number[], state = 'restored', certificate = true) =>
    ({
      service: 'search',
      state,
      changes: [],
      ended: Object.fromEntries(
        days.flatMap((day) => {
          const at = new Date(Date.now() - day * 86_400_000).toISOString()
          return [
            [`move ${day}`, { state: 'exposing', at, ...(certificate && { certificate }) }],
            [`move ${day}/rollback`, { state: 'restored', at }],
          ]
        }),
      ),
    }) as unknown as Entry
  expect(certificatesSpent(undefined, now).times).toBe(0)
  expect(certificatesSpent(entry([1, 2, 3, 4, 8])).times).toBe(4)
  const { until } = certificatesSpent(entry([6, 1]))
  expect(Math.round((Date.parse(until) - Date.now()) / 3_600_000)).toBe(24)
  const codes = (of: Entry) => planned([], [of]).problems?.map((each) => each.code)
  expect(codes(entry([1, 2, 3, 4, 5]))).toContain('certificates-spent')
  expect(codes(entry([1, 2, 3, 4]))).not.toContain('certificates-spent')
  expect(codes(entry([1, 2, 3, 4, 5], 'moved'))).not.toContain('certificates-spent')
  // Moves without TLS ask for none, however many there were.
  expect(codes(entry([1, 2, 3, 4, 5], 'restored', false))).not.toContain('certificates-spent')
})

test('each has a wave of its own, before the engine', () => {
  const { services } = parse({
    inngest: { service: 'apps/inngest', ports: [8288], engine: true },
    search,
    wiki: { service: 'apps/wiki', ports: [80], probe: { http: '/' }, mode: 'https' },
    redis: { service: 'apps/redis', ports: [6379] },
  })
  const waves = wavesOf(services.filter((each) => 'service' in each))
  expect(waves.map((wave) => wave.map((each) => each.name))).toEqual([
    ['redis'],
    ['search'],
    ['wiki'],
    ['inngest'],
  ])
})
