import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isClusterService, parseMesh } from '../../../src/plan/mesh.ts'
import { scanMesh } from '../../../src/plan/scan.ts'
import type { Inventory, Spoken } from '../../../src/plan/scan-inventory.ts'
import { renderMesh } from '../../../src/plan/scan-yaml.ts'
import { cluster, service } from './panda-inventory.ts'

const port = fc.integer({ min: 1, max: 12 })
const name = fc.stringMatching(/^[a-z]([a-z-]{0,3}[a-z])?(-svc)?$/)
const text = fc.oneof(
  fc.constantFrom('true', 'a\nb: c', '# x', '"', "'", '{', ' ', 'a@b'),
  fc.string({ minLength: 1 }),
)
const spoken = fc.constantFrom<Spoken>(
  { kind: 'redis' },
  { kind: 'http', path: '/', inngest: false },
  { kind: 'http', path: '/health', inngest: true },
  { kind: 'tcp', inngest: false },
  { kind: 'silent' },
)
const facts = fc
  .record({
    name,
    namespace: name,
    ports: fc.dictionary(port.map(String), port, { minKeys: 1, maxKeys: 3 }),
    hostname: fc.option(name),
    tag: fc.option(name.map((each) => `tag:${each}`)),
  })
  .map(({ ports, hostname, tag, ...rest }) => {
    const owned = (value: string | null) => (value === null ? undefined : { value, manager: 'x' })
    const [wished, tagged] = [owned(hostname), owned(tag)]
    return service(rest.name, ports, {
      namespace: rest.namespace,
      annotations: {
        ...(wished && { 'tailscale.com/hostname': wished }),
        ...(tagged && { 'tailscale.com/tags': tagged }),
      },
    })
  })
const inventories: fc.Arbitrary<Inventory> = fc
  .record({
    services: fc.uniqueArray(facts, { maxLength: 6, selector: (each) => `${each.namespace}/${each.name}` }),
    containers: fc.array(
      fc.record({
        name: fc.oneof(fc.constant('talos'), text),
        isNode: fc.boolean(),
        maps: fc.array(
          fc.record({
            hostAddress: fc.constantFrom('', '0.0.0.0', '192.0.2.1'),
            hostPort: port,
            containerPort: port,
            protocol: fc.constantFrom('tcp', 'udp'),
          }),
        ),
      }),
      { maxLength: 3 },
    ),
    upstreams: fc.array(
      fc.tuple(port, fc.constantFrom('localhost', '127.0.0.1', 'panda', '192.0.2.1'), port),
    ),
    context: text,
    process: text,
    file: text,
    with: fc.record({ docker: fc.boolean(), caddy: fc.boolean(), tailnet: fc.boolean() }),
  })
  .map((made) => ({
    cluster: cluster(made.services, { context: made.context, from: made.context, nodes: ['talos'] }),
    ...(made.with.docker && { docker: made.containers }),
    caddy: {
      file: made.file,
      admin: 'http://localhost:2019',
      ...(made.with.caddy && {
        text: made.upstreams
          .map(([at, host, to]) => `https://panda.t.ts.net:${at} {\n\treverse_proxy ${host}:${to}\n}\n`)
          .join('\n'),
      }),
    },
    ...(made.with.tailnet && {
      tailnet: {
        name: 't.ts.net',
        from: made.process,
        self: { name: 'panda', addresses: ['100.64.0.1'], tags: [] },
        members: [],
      },
    }),
    listeners: [{ port: 3, process: made.process }],
    unread: [{ what: made.process, why: made.file }],
  }))

test('whatever is there, the text is a mesh.yaml of exactly what was found', () => {
  fc.assert(
    fc.property(inventories, fc.array(fc.tuple(port, spoken)), (inventory, heard) => {
      const found = scanMesh(inventory, new Map(heard))
      const written = renderMesh(inventory, found)
      // A mesh.yaml without any service is none; the command refuses it.
      fc.pre(found.services.length + found.hosts.length > 0)
      const mesh = parseMesh(written, 'mesh.yaml')
      expect(mesh.kubernetes.context).toBe(inventory.cluster.context)
      expect(mesh.services.map((each) => each.name).sort()).toEqual(
        [...found.services, ...found.hosts].map((each) => each.name).sort(),
      )
      expect(
        mesh.services.filter(isClusterService).map(({ service: object, routes }) => [object, routes]),
      ).toEqual(found.services.map((each) => [each.service, each.routes]))
    }),
    { numRuns: 1500 },
  )
})
