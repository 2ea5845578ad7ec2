import { createHmac } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { Inngest } from 'inngest-v3'
import { serve as serveInngest } from 'inngest-v3/hono'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createOnehopApp } from '../../src/server.ts'
import { startWorker } from '../../src/worker.ts'

const signingKey = '5164'.repeat(16)
const serveOrigin = 'http://panda.example:3111'
const functions = [
  'migrate',
  'expose-service',
  'rollback-service',
  'rollback-all',
  'retire-service',
  'install-operator',
  'remove-operator',
  'narrow-policy',
  'abort-migration',
  'check-drift',
  'repair-drift',
  'note-probe',
  'recover',
]

let folder: string
const servers: Server[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onehop-worker-'))
  await writeFile(join(folder, 'signing-key'), `${signingKey}\n`)
  await writeFile(join(folder, 'event-key'), 'e7ba11c0ffee\n')
})

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
  await rm(folder, { recursive: true, force: true })
})

describe("mounted in another app's worker, whose Inngest SDK is v3", () => {
  test('each answers the engine under its own app id', async () => {
    const { worker } = await startSharedWorker('http://127.0.0.1:1')
    expect(await introspect(`${worker}/onehop/api/inngest`)).toMatchObject({
      app_id: 'onehop',
      function_count: functions.length,
      sdk_version: expect.stringMatching(/^v?4\./),
    })
    expect(await introspect(`${worker}/api/inngest`)).toMatchObject({
      app_id: 'system-bus-host',
      function_count: 1,
      sdk_version: expect.stringMatching(/^v?3\./),
    })
  })

  test('each registers with the engine under its own app id, at its own path', async () => {
    const registered: unknown[] = []
    const engine = await listen(
      createServer(async (request, response) => {
        if (request.url === '/fn/register') registered.push(await registration(request))
        response.setHeader('content-type', 'application/json').end('{"ok":true,"modified":true}')
      }),
    )
    const { worker, onehop } = await startSharedWorker(engine)
    const running = await onehop.start({ log: () => {} })
    await vi.waitFor(() => expect(registered).toHaveLength(1), 5000)
    await running.close()
    expect((await fetch(`${worker}/api/inngest`, { method: 'PUT' })).status).toBe(200)
    expect(registered).toEqual([
      {
        path: '/fn/register',
        app: 'onehop',
        url: `${serveOrigin}/onehop/api/inngest`,
        functions: functions.map((id) => `onehop-${id}`),
      },
      {
        path: '/fn/register',
        app: 'system-bus-host',
        url: `${worker}/api/inngest`,
        functions: ['system-bus-host-transcribe'],
      },
    ])
  })

  test('an engine without our signing key learns nothing', async () => {
    const { worker } = await startSharedWorker('http://127.0.0.1:1')
    const response = await fetch(`${worker}/onehop/api/inngest`)
    expect(response.status).toBe(401)
    expect(await response.text()).not.toContain('migrate')
  })

  test('GET answers its status as JSON', async () => {
    const { worker } = await startSharedWorker('http://127.0.0.1:1')
    expect(await (await fetch(`${worker}/onehop`)).json()).toEqual({
      status: 'ok',
      service: 'onehop',
      engine: 'http://127.0.0.1:1',
      functions,
      services: [],
    })
    expect(await (await fetch(worker)).json()).toEqual({ service: 'system-bus' })
  })
})

test('a taken port is refused with the process that holds it', async () => {
  const taken = new URL(await listen(createServer())).host
  const meshFile = await writeMesh({ listen: taken })
  await expect(startWorker({ meshFile, log: () => {} })).rejects.toMatchObject({
    code: 'port-taken',
    message: expect.stringMatching(`^${taken} is taken by .+ \\(pid ${process.pid}\\)$`),
  })
})

describe('a mesh.yaml that is wrong is refused before anything is made', () => {
  const cases: Array<[title: string, change: (mesh: string) => string, message: string]> = [
    ['an unknown key', (mesh) => `${mesh}colour: blue\n`, 'Unrecognized key: "colour"'],
    ['a wrong type', (mesh) => mesh.replace('[6379]', '[redis]'), 'services.redis.ports.0: expected a port'],
    ['no YAML', (mesh) => `${mesh}services: [\n`, 'mesh.yaml: '],
  ]
  test.each(cases)('%s', async (_title, change, message) => {
    const meshFile = await writeMesh({ change })
    const refused = { code: 'mesh-invalid', kind: 'input', message: expect.stringContaining(message) }
    await expect(createOnehopApp({ meshFile })).rejects.toMatchObject(refused)
    await expect(startWorker({ meshFile, log: () => {} })).rejects.toMatchObject(refused)
    expect(existsSync(join(folder, 'state'))).toBe(false)
  })
})

/** The user's worker as it is, with onehop mounted under /onehop: one process, one port, two Inngest apps. */
async function startSharedWorker(engine: string) {
  const client = new Inngest({ id: 'system-bus-host', baseUrl: engine, isDev: false })
  const transcribe = client.createFunction({ id: 'transcribe' }, { event: 'video/downloaded' }, () => 'done')
  const worker = new Hono()
  worker.get('/', (context) => context.json({ service: 'system-bus' }))
  worker.on(
    ['GET', 'PUT', 'POST'],
    '/api/inngest',
    serveInngest({ client, functions: [transcribe], signingKey }),
  )
  const meshFile = await writeMesh({
    engine,
    path: '/onehop',
    change: (mesh) => mesh.replace('engine: {', `engine: { serveOrigin: '${serveOrigin}',`),
  })
  const onehop = await createOnehopApp({ meshFile })
  worker.route('/onehop', onehop.app)
  return { worker: await listen(createAdaptorServer({ fetch: worker.fetch }) as Server), onehop }
}

async function writeMesh({
  engine = 'http://127.0.0.1:1',
  listen = '127.0.0.1:3111',
  path = '',
  change = (mesh: string) => mesh,
}: {
  engine?: string
  listen?: string
  path?: string
  change?: (mesh: string) => string
}): Promise<string> {
  const file = join(folder, 'mesh.yaml')
  const mesh = `kubernetes: { context: admin@talos }
tailnet: tail7af24.ts.net
tailscale: { credentials: { clientIdFile: id, clientSecretFile: secret } }
operator: { version: 1.102.4, credentials: { clientIdFile: id, clientSecretFile: secret } }
caddy: { file: Caddyfile }
engine: { url: '${engine}', eventKeyFile: event-key, signingKeyFile: signing-key }
worker: { listen: '${listen}', path: '${path}' }
state: state
services:
  redis: { service: joelclaw/redis, ports: [6379] }
`
  await writeFile(file, change(mesh))
  return file
}

function listen(server: Server): Promise<string> {
  servers.push(server)
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    ),
  )
}

/** What the engine is told when it asks: the request is signed as the engine signs it. */
async function introspect(url: string): Promise<unknown> {
  const time = Math.floor(Date.now() / 1000)
  const signature = createHmac('sha256', signingKey).update(String(time)).digest('hex')
  const response = await fetch(url, { headers: { 'x-inngest-signature': `t=${time}&s=${signature}` } })
  expect(response.status).toBe(200)
  return response.json()
}

async function registration(request: IncomingMessage) {
  const body: { appName: string; url: string; functions: Array<{ id: string }> } = JSON.parse(
    await text(request),
  )
  const { appName: app, url, functions } = body
  return { path: request.url, app, url, functions: functions.map((each) => each.id) }
}
