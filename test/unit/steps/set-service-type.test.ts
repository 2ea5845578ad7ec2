import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { manifestPatch, typeKeys, typeSource } from '../../../src/plan/service-type.ts'
import { setServiceType } from '../../../src/steps/set-service-type.ts'
import { createKubernetes } from '../../../src/systems/kubernetes.ts'

const metadata = {
  namespace: 'joelclaw',
  name: 'inngest-svc',
  uid: 'u1',
  resourceVersion: '7',
  managedFields: [
    { manager: 'onehop-retire', operation: 'Apply', fieldsV1: { 'f:spec': { 'f:type': {} } } },
    { manager: 'kubectl-client-side-apply', operation: 'Update', fieldsV1: { 'f:spec': { 'f:type': {} } } },
    { manager: 'onehop', operation: 'Apply', fieldsV1: { 'f:metadata': {} } },
  ],
}
const ports = [
  { name: 'api', port: 8288, protocol: 'TCP', targetPort: 8288, nodePort: 8288, appProtocol: 'http' },
  { name: 'connect', port: 8289, protocol: 'TCP', targetPort: 'ws', nodePort: 8289 },
]
const nodePort = { metadata, spec: { type: 'NodePort', externalTrafficPolicy: 'Local', ports } }
const clusterIp = {
  metadata: { ...metadata, resourceVersion: '8' },
  spec: { type: 'ClusterIP', ports: ports.map(({ nodePort: _, ...port }) => port) },
}
const service = {
  namespace: 'joelclaw',
  object: 'inngest-svc',
  service: 'joelclaw/inngest-svc',
} as Parameters<typeof setServiceType.read>[1]

/** An API server of one Service that notes what it is sent. What the real one makes of it is for test/real. */
async function noting(answers: { get: unknown; list?: unknown; patch?: { status: number; body: unknown } }) {
  const patches: Array<{ type: string; manager: string | null; force: string | null; body: unknown }> = []
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://x')
    const body = await text(request)
    const answer = (status: number, value: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (request.method === 'GET')
      return answer(200, url.pathname.endsWith('/services') ? answers.list : answers.get)
    patches.push({
      type: String(request.headers['content-type']),
      manager: url.searchParams.get('fieldManager'),
      force: url.searchParams.get('force'),
      body: JSON.parse(body),
    })
    return answer(answers.patch?.status ?? 200, answers.patch?.body ?? answers.get)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  const folder = await mkdtemp(join(tmpdir(), 'onehop-type-'))
  const kubeconfig = join(folder, 'config')
  const cluster = {
    'insecure-skip-tls-verify': true,
    server: `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`,
  }
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    }),
  )
  const systems = { kubernetes: createKubernetes({ context: 'c', kubeconfig }) } as Parameters<
    typeof setServiceType.read
  >[0]
  return {
    systems,
    patches,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true })
    },
  }
}

test('the type is taken by a field manager of its own, without a word of the annotations', async () => {
  await using api = await noting({ get: nodePort })
  const before = await setServiceType.read(api.systems, service)
  expect(before).toEqual({
    namespace: 'joelclaw',
    name: 'inngest-svc',
    uid: 'u1',
    type: 'NodePort',
    manager: 'kubectl-client-side-apply',
    externalTrafficPolicy: 'Local',
    ports: [
      { name: 'api', port: 8288, protocol: 'TCP', nodePort: 8288 },
      { name: 'connect', port: 8289, protocol: 'TCP', nodePort: 8289 },
    ],
  })
  await setServiceType.write(api.systems, {
    from: before,
    to: setServiceType.target(before),
    undo: false,
    service: 'redis',
  })
  expect(api.patches).toEqual([
    {
      type: 'application/apply-patch+yaml',
      manager: 'onehop-retire',
      force: 'true',
      body: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'inngest-svc', namespace: 'joelclaw', uid: 'u1', resourceVersion: '7' },
        spec: { type: 'ClusterIP' },
      },
    },
  ])
})

const before = {
  ...{ namespace: 'joelclaw', name: 'inngest-svc', uid: 'u1', type: 'NodePort' },
  ...{ manager: 'kubectl-client-side-apply', externalTrafficPolicy: 'Local' },
  ports: ports.map(({ name, port, protocol, nodePort: number }) => ({
    name,
    port,
    protocol,
    nodePort: number,
  })),
}
const undo = { from: setServiceType.target(before), to: before, undo: true, service: 'redis' }

test('the undo gives type and nodePorts back in one patch under their former owner, then withdraws', async () => {
  const written = { ...nodePort, metadata: { ...metadata, resourceVersion: '9' } }
  await using api = await noting({ get: clusterIp, patch: { status: 200, body: written } })
  await setServiceType.write(api.systems, undo)
  expect(api.patches).toMatchObject([
    {
      type: 'application/merge-patch+json',
      manager: 'kubectl-client-side-apply',
      body: {
        metadata: { uid: 'u1', resourceVersion: '8' },
        spec: { type: 'NodePort', externalTrafficPolicy: 'Local', ports },
      },
    },
    { type: 'application/apply-patch+yaml', manager: 'onehop-retire', body: { kind: 'Service' } },
  ])
  expect(api.patches[1]?.body).not.toHaveProperty('spec')
})

test('an undo that finds the type there already gives the Service another version: a late apply must find it', async () => {
  await using api = await noting({ get: nodePort })
  await setServiceType.write(api.systems, undo)
  const marks = api.patches
    .slice(1)
    .map(({ manager, body }) => [
      manager,
      Object.keys((body as typeof nodePort).metadata).includes('annotations'),
    ])
  expect(marks).toEqual([
    ['onehop-retire', true],
    ['onehop-retire', false],
  ])
})

test('an undo says which Service has the number now', async () => {
  const message =
    'Service "inngest-svc" is invalid: spec.ports[0].nodePort: Invalid value: 8288: provided port is already allocated'
  const squatter = {
    metadata: { namespace: 'apps', name: 'squatter', uid: 'u2' },
    spec: { ports: [{ nodePort: 8289 }] },
  }
  await using api = await noting({
    get: clusterIp,
    list: { items: [clusterIp, squatter] },
    patch: { status: 422, body: { kind: 'Status', message } },
  })
  await expect(setServiceType.write(api.systems, undo)).rejects.toMatchObject({
    code: 'nodeport-taken',
    message: 'Service joelclaw/inngest-svc cannot have its nodePort 8289 back: apps/squatter has it now',
  })
})

test('done is done, and what others have made of it stays', async () => {
  await using done = await noting({ get: clusterIp })
  await setServiceType.write(done.systems, {
    from: before,
    to: setServiceType.target(before),
    undo: false,
    service: 'redis',
  })
  expect(done.patches).toEqual([])
  const renumbered = ports.map((each) => ({ ...each, nodePort: each.port + 22_000 }))
  await using other = await noting({ get: { metadata, spec: { type: 'NodePort', ports: renumbered } } })
  await expect(setServiceType.write(other.systems, undo)).rejects.toMatchObject({
    code: 'changed-by-others',
    message: expect.stringContaining('NodePort 8288:30288 8289:30289'),
  })
  await setServiceType.write(other.systems, { ...undo, force: true })
  expect(other.patches[0]?.body).toMatchObject({ spec: { type: 'NodePort', ports } })
  await using anew = await noting({ get: { ...clusterIp, metadata: { ...metadata, uid: 'u9' } } })
  await expect(setServiceType.write(anew.systems, undo)).rejects.toMatchObject({ code: 'service-recreated' })
  expect(() => setServiceType.target({ ...before, type: 'LoadBalancer' })).toThrow(
    expect.objectContaining({ code: 'service-type-kept' }),
  )
})

test('what has to be committed is said exactly; what Helm owns is kept', () => {
  const facts = { ...before, resourceVersion: '7' }
  expect(manifestPatch(facts)).toBe(`# Service joelclaw/inngest-svc
 spec:
-  type: NodePort
+  type: ClusterIP
   ports:
     - name: api
       port: 8288
-      nodePort: 8288
     - name: connect
       port: 8289
-      nodePort: 8289
`)
  expect(typeSource(facts)).toEqual({
    note: expect.stringContaining('by kubectl-client-side-apply; commit this'),
  })
  expect(typeSource({ ...facts, helmRelease: 'livekit', manager: 'helm' })).toMatchObject({
    kept: { managed: 'helm', set: [], command: expect.stringContaining('--set KEY=ClusterIP') },
    note: expect.stringContaining('belongs to Helm release livekit (type written by helm): its type stays'),
  })
})

test.each([
  ['one value', { service: { type: 'NodePort', port: 80 } }, ['service.type']],
  [
    'several: the one beside our port',
    { a: { type: 'NodePort', port: 1 }, b: { type: 'NodePort', ports: { api: { nodePort: 8288 } } } },
    ['b.type'],
  ],
  ['several, and none beside it', { a: { type: 'NodePort' }, b: { type: 'NodePort' } }, ['a.type', 'b.type']],
  [
    'in a list, and with dots in its key',
    { list: [{ x: 1 }, { 'a.b': { type: 'NodePort' } }] },
    ['list[1].a\\.b.type'],
  ],
  ['none: the template writes it', { service: { port: 8288 }, list: ['NodePort'] }, []],
])('the values of a release that hold the type: %s', (_, values, keys) => {
  expect(typeKeys(values, before)).toEqual(keys)
})

test('force takes the place of another NodePort, never of another type', async () => {
  const to = setServiceType.target(before)
  const again = { from: to, to, undo: false, force: true, service: 'redis' }
  await using back = await noting({ get: nodePort })
  await setServiceType.write(back.systems, again)
  expect(back.patches).toHaveLength(1)
  for (const type of ['LoadBalancer', 'ExternalName']) {
    await using own = await noting({ get: { metadata, spec: { type, ports } } })
    await expect(setServiceType.write(own.systems, again)).rejects.toMatchObject({
      code: 'service-type-kept',
    })
    expect(own.patches).toEqual([])
  }
})
