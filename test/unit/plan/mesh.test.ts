import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import { renderMeshSchema } from '../../../docs/render-schema.ts'
import { OnehopError } from '../../../src/errors.ts'
import { isClusterService, parseMesh, selectServices, vantagesOf } from '../../../src/plan/mesh.ts'

const credentials = { clientIdFile: '~/id', clientSecretFile: 'secret' }
const redis = { service: 'apps/redis', ports: [6379] }
const wanted = {
  kubernetes: { context: 'admin@talos' },
  tailnet: 'tail7af24.ts.net',
  tailscale: { credentials },
  operator: { version: '1.102.4', credentials },
  caddy: { file: '~/Caddyfile' },
  engine: { url: 'http://localhost:8288' },
  services: { redis },
}
const parse = (mesh: unknown) => parseMesh(stringify(mesh), '/home/joel/mesh.yaml')

function refusal(text: string): OnehopError {
  try {
    parseMesh(text, 'mesh.yaml')
  } catch (thrown) {
    if (thrown instanceof OnehopError) return thrown
    throw thrown
  }
  throw new Error('it was taken')
}

describe('bad input is refused with its path and what was expected', () => {
  const services = (more: object) => ({ ...wanted, services: more })
  const cases: Array<[title: string, mesh: unknown, path: string, expectation: string]> = [
    ['an unknown key at the top', { ...wanted, colour: 'red' }, '(top)', 'colour'],
    [
      'an unknown key of a service',
      services({ redis: { ...redis, hostnmae: 'r' } }),
      'services.redis',
      'hostnmae',
    ],
    ['a missing part', { ...wanted, tailnet: undefined }, 'tailnet', 'string'],
    [
      'a wrong type',
      { ...wanted, kubernetes: { context: ['admin@talos'] } },
      'kubernetes.context',
      'expected string',
    ],
    ['a zone that is none', { ...wanted, drift: { zone: 'Europe/Pariss' } }, 'drift.zone', 'Europe/Paris'],
    ['a minute that is none', { ...wanted, drift: { cron: '99 * * * *' } }, 'drift.cron', 'minutes from 0'],
    ['a tailnet that is no DNS name', { ...wanted, tailnet: 'Joel' }, 'tailnet', 'tail7af24.ts.net'],
    [
      'port 0',
      services({ redis: { ...redis, ports: [0] } }),
      'services.redis.ports.0',
      'a port from 1 to 65535',
    ],
    [
      'a port as text',
      services({ redis: { ...redis, ports: ['6379'] } }),
      'services.redis.ports.0',
      'a port from 1 to 65535',
    ],
    [
      'a route where there is no old path',
      services({ redis: { ...redis, oldPath: 'none', routes: { 'https://a:1': 6379 } } }),
      'services.redis.routes.https://a:1',
      'a route of Caddy is an old path, and oldPath is none',
    ],
    [
      'a port map where there is no old path',
      services({ redis: { ...redis, oldPath: 'none', ports: [{ port: 6379, portMap: 6379 }] } }),
      'services.redis.ports.0.portMap',
      'a portMap is an old path',
    ],
    [
      'another old path',
      services({ redis: { ...redis, oldPath: 'some' } }),
      'services.redis.oldPath',
      'expected none',
    ],
    [
      "the port map on a kept process's port",
      services({ redis, worker: { host: '127.0.0.1:6379', keep: 'caddy' } }),
      'services.redis.ports.0',
      'port 6379 of this machine, which is that of worker',
    ],
    ['no ports', services({ redis: { ...redis, ports: [] } }), 'services.redis.ports', '>=1'],
    [
      'a hostname that is no DNS label',
      services({ redis: { ...redis, hostname: 'my_redis' } }),
      'services.redis.hostname',
      'expected a DNS label',
    ],
    [
      'a service name that is no DNS label',
      services({ 'My Redis': redis }),
      'services.My Redis',
      'expected a DNS label',
    ],
    [
      'a Service without its namespace',
      services({ redis: { ...redis, service: 'redis' } }),
      'services.redis.service',
      'expected namespace/name',
    ],
    [
      'two services of one tag',
      services({ redis, other: { ...redis, service: 'apps/other', tag: 'tag:svc-redis' } }),
      'services.other.tag',
      'already that of redis',
    ],
    [
      'an allow without the machine that proves it',
      { ...services({ redis: { ...redis, allow: ['clanker-001'] } }), machine: 'panda' },
      'services.redis.allow',
      'expected panda among them',
    ],
    [
      'an allow without the machine whose Caddy has the routes, though nothing else names it',
      services({
        redis: { ...redis, allow: ['clanker-001'], routes: { 'https://Panda.tail7af24.ts.net:9443': 6379 } },
      }),
      'services.redis.allow',
      'expected panda among them',
    ],
    [
      'an allow, where nothing tells which machine proves it',
      services({ redis: { ...redis, allow: ['panda'], routes: { ':9443': 6379 } } }),
      'services.redis.allow',
      'expected machine at the top',
    ],
    [
      'a vantage, where this machine has no name',
      services({ redis: { ...redis, proveFrom: ['clanker-001'] } }),
      'services.redis.proveFrom',
      'expected machine at the top',
    ],
    [
      'a vantage that is no machine name',
      { ...services({ redis: { ...redis, proveFrom: ["x' || true"] } }), machine: 'panda' },
      'services.redis.proveFrom.0',
      'expected a DNS label',
    ],
    ['a p99 of nothing', { ...wanted, soak: { p99: 0 } }, 'soak.p99', '>0'],
    [
      'a tag without tag:',
      services({ redis: { ...redis, tag: 'svc-redis' } }),
      'services.redis.tag',
      'expected tag:name',
    ],
    [
      'a probe that does not exist',
      services({ redis: { ...redis, probe: 'ping' } }),
      'services.redis.probe',
      'expected tcp, redis, or {http',
    ],
    [
      "a route to a port that is not the service's",
      services({ redis: { ...redis, routes: { 'https://a.net:1': 6380 } } }),
      'services.redis.routes.https://a.net:1',
      "port 6380 is not one of this service's ports",
    ],
    [
      'two services with one hostname',
      services({ redis, cache: { service: 'apps/cache', ports: [1], hostname: 'redis' } }),
      'services.cache.hostname',
      'redis is already that of redis',
    ],
    [
      'one Service named twice',
      services({ redis, cache: { ...redis } }),
      'services.cache.service',
      'apps/redis is already that of redis',
    ],
    [
      'a process of this machine that is not kept behind Caddy',
      services({ redis, worker: { host: '127.0.0.1:3111' } }),
      'services.worker.keep',
      'caddy',
    ],
    ['no services', services({}), 'services', 'at least one service'],
    ['a list instead of a mesh', ['redis'], '(top)', 'expected object'],
  ]

  test.each(cases)('%s', (_, mesh, path, expectation) => {
    const { code, kind, message } = refusal(stringify(mesh))
    expect({ code, kind }).toEqual({ code: 'mesh-invalid', kind: 'input' })
    expect(message).toContain(`mesh.yaml: ${path}: `)
    expect(message).toContain(expectation)
  })

  test('YAML that does not parse, with the line', () => {
    const { code, message } = refusal('services: {\n  redis: [\n')
    expect(code).toBe('mesh-invalid')
    expect(message).toMatch(/line \d+/)
  })

  test('an empty file, and one of comments alone', () => {
    for (const text of ['', '\n', '# nothing yet\n'])
      expect(refusal(text)).toMatchObject({ code: 'mesh-invalid', message: 'mesh.yaml: it is empty' })
  })
  test('a key that stands twice', () => {
    expect(refusal('tailnet: a.net\ntailnet: b.net\n').message).toContain('unique')
  })

  test('all problems at once, so that one correction is enough', () => {
    const { message } = refusal(stringify({ ...wanted, tailnet: 'Joel', engine: { url: 'localhost' } }))
    expect(message).toContain('tailnet: ')
    expect(message).toContain('engine.url: ')
  })
})

test('every default is filled in', () => {
  const mesh = parse(wanted)
  expect(mesh.operator).toMatchObject({
    namespace: 'tailscale',
    tag: 'tag:k8s-operator',
    proxyClass: 'onehop',
  })
  expect(mesh.worker.listen).toBe('127.0.0.1:3111')
  expect(mesh.services).toMatchObject([
    {
      name: 'redis',
      namespace: 'apps',
      object: 'redis',
      hostname: 'redis',
      tag: 'tag:svc-redis',
      probe: 'tcp',
      ports: [{ port: 6379, portMap: 6379 }],
      routes: {},
    },
  ])
})

test('a port map may differ from its port, as that of the PDS does', () => {
  const mesh = parse({
    ...wanted,
    services: { pds: { service: 'apps/pds', ports: [{ port: 3000, portMap: 9627 }] } },
  })
  expect(mesh.services.filter(isClusterService)[0]?.ports).toEqual([{ port: 3000, portMap: 9627 }])
})

test('paths are relative to the file, and ~ is the home', () => {
  const mesh = parse(wanted)
  expect(mesh.operator.credentials).toEqual({
    clientIdFile: `${homedir()}/id`,
    clientSecretFile: '/home/joel/secret',
  })
  expect(mesh.caddy.file).toBe(`${homedir()}/Caddyfile`)
})

test('services are selected by name, in the order of mesh.yaml, without processes of this machine', () => {
  const qdrant = { service: 'apps/qdrant', ports: [6333] }
  const worker = { host: '127.0.0.1:3111', keep: 'caddy' }
  const mesh = parse({ ...wanted, services: { redis, worker, qdrant } })
  const names = (some?: string[]) => selectServices(mesh, some).map((each) => each.name)
  expect(names()).toEqual(['redis', 'qdrant'])
  expect(names(['qdrant', 'redis'])).toEqual(['redis', 'qdrant'])
  expect(() => names(['worker'])).toThrow('no service named "worker"; it has redis, qdrant')
})

test('this machine is never waited for, and a vantage only once', () => {
  const proveFrom = ['panda', 'clanker-001', 'clanker-001']
  const mesh = parse({ ...wanted, machine: 'panda', services: { redis: { ...redis, proveFrom } } })
  expect(selectServices(mesh).map((each) => vantagesOf(mesh, each))).toEqual([['clanker-001']])
  const [one] = selectServices(parse(wanted))
  expect(one && vantagesOf(mesh, one)).toEqual([])
})

test('this machine is known by the sites of its routes, and may be allowed by its full name', () => {
  const routes = { 'https://panda.tail7af24.ts.net:9443': 6379, ':9444': 6379 }
  const mesh = parse({
    ...wanted,
    services: { redis: { ...redis, routes, allow: ['panda.tail7af24.ts.net'] } },
  })
  expect(mesh.machine).toBe('panda')
  const other = { service: 'apps/other', ports: [1], routes: { 'https://other.tail7af24.ts.net': 1 } }
  expect(parse({ ...wanted, services: { redis: { ...redis, routes }, other } }).machine).toBeUndefined()
})

test('editors get a JSON Schema that knows what a service may have', () => {
  const page = readFileSync(new URL('../../../docs/mesh.schema.json', import.meta.url), 'utf8')
  expect(page, 'run: node bootstrap.mjs docs/render-schema.ts').toBe(renderMeshSchema())
  const schema = z.fromJSONSchema(JSON.parse(page))
  const takes = (services: unknown) => schema.safeParse({ ...wanted, services }).success
  expect(takes({ redis, worker: { host: '127.0.0.1:3111', keep: 'caddy' } })).toBe(true)
  expect(takes({ redis: { ...redis, prots: [6379] } })).toBe(false)
  expect(takes({ redis: { ...redis, ports: [0] } })).toBe(false)
  expect(takes({ worker: { host: '127.0.0.1:3111' } })).toBe(false)
})

test('the mesh.yaml of the README is taken', () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const [, example = ''] = /```yaml\n(.*?)```/s.exec(readme) ?? []
  expect(parseMesh(example, 'mesh.yaml').services.map((each) => each.name)).toEqual([
    'redis',
    'pds',
    'inngest',
    'worker',
  ])
})
