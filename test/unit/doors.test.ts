import { createHmac } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openJournal } from '../../src/journal.ts'
import { createOnehopApp } from '../../src/server.ts'

// The worker's HTTP as somebody meets it who can reach the port and has no authority: raw requests over a real socket.
const signingKey = '5164'.repeat(16)
const servers: Server[] = []
let folder: string
let asked: Array<{ path: string | undefined; body: unknown }>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-doors-'))
  writeFileSync(join(folder, 'signing-key'), signingKey)
  writeFileSync(join(folder, 'event-key'), 'e7ba11c0ffee')
  asked = []
})
afterEach(async () => {
  await Promise.all(
    servers.splice(0).map((server) => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    }),
  )
  rmSync(folder, { recursive: true, force: true })
})

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const spellings = ['/api/inngest', '/api/inngest/', '/api//inngest', '/API/INNGEST', '/%61pi/inngest']

describe('in connect mode', () => {
  test('there is no /api/inngest, by whatever method and spelling, and the engine hears nothing', async () => {
    const { port } = await startAlone({ engine: await startEngine() })
    for (const method of methods)
      for (const path of [...spellings, '/api/inngest?deployId=x'])
        expect([method, path, (await raw(port, { method, path })).status]).toEqual([method, path, 404])
    expect((await raw(port, { method: 'PUT', host: '127.0.0.1:9999' })).status).toBe(404)
    expect((await raw(port, { method: 'PUT', headers: signed('') })).status).toBe(404)
    expect(asked).toEqual([])
  })

  test('nor is there one where onehop is mounted', async () => {
    const { port } = await startMounted({ engine: await startEngine() })
    for (const method of methods)
      for (const path of spellings) {
        const { status } = await raw(port, { method, path: `/onehop${path}` })
        expect([method, path, status]).toEqual([method, path, 404])
      }
    expect(asked).toEqual([])
  })
})

describe('with serveOrigin', () => {
  const serveOrigin = 'http://panda.example:3111'

  test('no request from outside registers anything', async () => {
    const { port } = await startAlone({ engine: await startEngine(), serveOrigin })
    const inBand = { 'x-inngest-sync-kind': 'in_band', 'x-forwarded-host': 'evil.example' }
    const body = JSON.stringify({ url: 'http://evil.example/api/inngest' })
    for (const path of [...spellings, '/api/inngest?deployId=x', '/api/inngest?url=http://evil.example'])
      for (const host of [`127.0.0.1:${port}`, 'panda.example:3111', '127.0.0.1:9999', 'evil.example'])
        for (const headers of [{}, inBand, signed(''), { ...inBand, ...signed(body) }]) {
          const sent = 'x-inngest-sync-kind' in headers ? body : ''
          const { status } = await raw(port, { method: 'PUT', path, host, headers, body: sent })
          expect([path, host, status >= 400 && status < 500]).toEqual([path, host, true])
        }
    expect(asked).toEqual([])
  })

  test('the worker registers itself at serveOrigin and worker.path, whatever its environment says', async () => {
    vi.stubEnv('INNGEST_SERVE_ORIGIN', 'http://evil.example')
    vi.stubEnv('INNGEST_SERVE_HOST', 'http://evil.example')
    vi.stubEnv('INNGEST_SERVE_PATH', '/evil')
    vi.stubEnv('INNGEST_ENABLE_UNAUTHED_SYNC', '0')
    try {
      const { onehop } = await startMounted({ engine: await startEngine(), serveOrigin })
      const worker = await onehop.start({ log: () => {} })
      try {
        await vi.waitFor(() => expect(registrations()).toHaveLength(1), 5000)
      } finally {
        await worker.close()
      }
    } finally {
      vi.unstubAllEnvs()
    }
    const [registered] = registrations() as Array<{ url: string; appName: string; functions: unknown[] }>
    expect(registered).toMatchObject({ appName: 'onehop', url: `${serveOrigin}/onehop/api/inngest` })
    expect(JSON.stringify(registered?.functions)).not.toContain('evil')
  })

  // Less than the deadline of the call to the engine.
  test('a silent engine keeps no worker from ending', { timeout: 9000 }, async () => {
    const engine = await listen(createServer(() => asked.push({ path: 'silent', body: null })))
    const { onehop } = await startMounted({ engine, serveOrigin })
    const worker = await onehop.start({ log: () => {} })
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0), 5000)
    await worker.close()
  })

  test('the engine reaches the functions by its signature, under serveOrigin and through a local proxy', async () => {
    const { port } = await startAlone({ serveOrigin })
    // The keys in the order in which they are signed.
    const event = { data: {}, id: 'r1', name: 'mesh/migration.abort.requested' }
    const ctx = { attempt: 0, disable_immediate_execution: false, run_id: '01J' }
    const body = JSON.stringify({ ctx, event, events: [event], steps: {}, version: 2 })
    const path = '/api/inngest?fnId=onehop-abort-migration&stepId=step'
    for (const host of ['panda.example:3111', 'PANDA.example:3111', `127.0.0.1:${port}`]) {
      const answer = await raw(port, { method: 'POST', path, host, body, headers: signed(body) })
      expect([answer.status, answer.body]).toEqual([206, expect.stringContaining('"op":"StepRun"')])
    }
    expect(readdirSync(join(folder, 'state/requests'))).toEqual(['r1.json'])
  })

  test('who has no signature learns and changes nothing', async () => {
    const { port } = await startAlone({ engine: await startEngine(), serveOrigin })
    for (const method of ['GET', 'HEAD', 'POST'])
      for (const headers of [{}, { 'x-inngest-signature': 't=1&s=0' }, signed('', 'another key')]) {
        const { status, body } = await raw(port, { method, headers, body: method === 'POST' ? '{}' : '' })
        expect([method, status]).toEqual([method, 401])
        expect(body).toMatch(/^(\{"message":"Unauthorized"\})?$/)
      }
    expect(asked).toEqual([])
  })

  test('a body that is no JSON is refused as such, with no stack in the answer or in the log', async () => {
    const error = vi.spyOn(console, 'error').mockReturnValue()
    const { port } = await startAlone({ serveOrigin })
    for (const body of ['{', 'null x', '\u0000', `${'['.repeat(5000)}1`, '<a>'])
      expect(await raw(port, { method: 'POST', body })).toMatchObject({
        status: 400,
        body: '{"message":"the body is not JSON"}',
      })
    expect(error).not.toHaveBeenCalled()
    error.mockRestore()
  })
})

describe('every route answers under its own hosts alone', () => {
  const routes = [
    { method: 'GET', path: '/' },
    { method: 'HEAD', path: '/' },
    { method: 'GET', path: '/metrics' },
    { method: 'GET', path: '/api/inngest' },
    { method: 'POST', path: '/api/inngest', body: '{}' },
  ]
  const serveOrigin = 'https://hook.example'
  const hosts = ['onehop.example', 'scraped.example:9000', '[fd7a:115c:a1e0::1]:3111']

  test.each([
    '127.0.0.1:PORT',
    'localhost:PORT',
    'LOCALHOST:PORT',
    '[::1]:PORT',
    'hook.example',
    'hook.example:443',
    'onehop.example',
    'OneHop.example:8443',
    'scraped.example:9000',
    '[fd7a:115c:a1e0::1]:3111',
  ])('%s', async (host) => {
    const { port } = await startAlone({ serveOrigin, hosts })
    for (const route of routes) {
      const { status } = await raw(port, { ...route, host: host.replace('PORT', String(port)) })
      expect([route.path, status]).toEqual([route.path, route.path === '/api/inngest' ? 401 : 200])
    }
  })

  test.each([
    'evil.example:PORT',
    'evil.example',
    '127.0.0.1:9999',
    '127.0.0.1',
    'localhost',
    'localhost:PORT.evil.example',
    'localhost.:PORT',
    'localhost.evil.example:PORT',
    'evil.example:PORT@127.0.0.1:PORT',
    'user@127.0.0.1:PORT',
    '127.0.0.1:PORT/x',
    '127.0.0.1:PORT, evil.example',
    '127.0.0.2:PORT',
    '2130706433:PORT',
    '0x7f000001:PORT',
    '[::1]',
    '[::ffff:127.0.0.1]:PORT',
    '::1:PORT',
    '10.0.0.5:PORT',
    'hook.example:8080',
    'hook.example.',
    'scraped.example',
    'scraped.example:9001',
    'a.onehop.example',
    'onehop.example.evil.example',
    '__proto__',
    ' ',
  ])('not under %s', async (host) => {
    const { port } = await startAlone({ serveOrigin, hosts })
    for (const route of routes) {
      const { status, body } = await raw(port, { ...route, host: host.replaceAll('PORT', String(port)) })
      expect([route.path, status === 403 || status === 400]).toEqual([route.path, true])
      expect(body).not.toMatch(/redis|migrate|onehop_/)
    }
  })

  test('nor where two hosts are named, or the request target names another', async () => {
    const { port } = await startAlone({ serveOrigin, hosts })
    const good = `127.0.0.1:${port}`
    const both = [`GET / HTTP/1.1\r\nHost: ${good}\r\nHost: evil.example`]
    both.push(`GET / HTTP/1.1\r\nHost: evil.example\r\nHost: ${good}`)
    both.push(`GET http://evil.example/ HTTP/1.1\r\nHost: ${good}`)
    both.push(`GET http://${good}/ HTTP/1.1\r\nHost: evil.example`)
    both.push(`GET http://user@${good}/ HTTP/1.1\r\nHost: evil.example`)
    both.push('GET / HTTP/1.1\r\nX: y', 'GET / HTTP/1.0\r\nX: y')
    for (const head of both) {
      const { status } = await exchange(port, `${head}\r\nConnection: close\r\n\r\n`)
      expect([head, status === 403 || status === 400]).toEqual([head, true])
    }
    const whole = await exchange(
      port,
      `GET http://${good}/ HTTP/1.1\r\nHost: ${good}\r\nConnection: close\r\n\r\n`,
    )
    expect(whole.status).toBe(200)
  })

  test.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
    { origin: 'http://localhost:PORT' },
    { origin: '127.0.0.1:PORT' },
    { origin: 'http://127.0.0.1:PORT.evil.example' },
    { origin: 'http://127.0.0.1:PORT@evil.example' },
    { origin: '' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'Cross-Site' },
    { 'sec-fetch-site': 'none, cross-site' },
    { origin: 'http://127.0.0.1:PORT', 'sec-fetch-site': 'cross-site' },
  ])('not to a page of another site: %o', async (given) => {
    const { port } = await startAlone({ serveOrigin })
    const headers = JSON.parse(JSON.stringify(given).replaceAll('PORT', String(port)))
    for (const route of routes) {
      const { status, body } = await raw(port, { ...route, headers })
      expect([route.path, status]).toEqual([route.path, 403])
      if (route.method !== 'HEAD') expect(JSON.parse(body)).toMatchObject({ code: 'origin-refused' })
    }
  })

  test.each([
    {},
    { 'sec-fetch-site': 'none' },
    { 'sec-fetch-site': 'same-origin' },
    { origin: 'http://127.0.0.1:PORT', 'sec-fetch-site': 'same-origin' },
  ])('to its own page and to who types its address: %o', async (given) => {
    const { port } = await startAlone({ serveOrigin })
    const headers = JSON.parse(JSON.stringify(given).replaceAll('PORT', String(port)))
    expect((await raw(port, { method: 'GET', path: '/', headers })).status).toBe(200)
  })
})

describe('mounted in another app', () => {
  test('its own routes are checked there too, and the machine is known by each port', async () => {
    const { port } = await startMounted({ serveOrigin: 'http://panda.example:3111' })
    for (const path of ['/onehop', '/onehop/metrics', '/onehop/api/inngest']) {
      const wanted = path.endsWith('inngest') ? 401 : 200
      for (const host of [`127.0.0.1:${port}`, 'localhost:1', '[::1]:2', 'panda.example:3111'])
        expect([host, (await raw(port, { path, host })).status]).toEqual([host, wanted])
      for (const host of ['evil.example', 'panda.example', 'localhost.evil.example:1', '10.0.0.5:3111'])
        expect([host, (await raw(port, { path, host })).status]).toEqual([host, 403])
      expect((await raw(port, { path, headers: { origin: 'https://evil.example' } })).status).toBe(403)
      expect((await raw(port, { path, headers: { 'sec-fetch-site': 'same-site' } })).status).toBe(403)
    }
  })

  test.each(['/onehop', '/', '/deep/er'])(
    'at %s it leaves the routes of the other app as they are',
    async (at) => {
      const { port } = await startMounted({ serveOrigin: 'http://panda.example:3111', at })
      const foreign = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }
      for (const path of ['/theirs/before', '/theirs/after', '/onehop-too', '/onehopper/metrics'])
        for (const host of [`127.0.0.1:${port}`, 'evil.example']) {
          const answer = await raw(port, { path, host, headers: foreign })
          expect([path, answer.status, answer.body]).toEqual([path, 200, `theirs: ${path}`])
        }
      for (const path of ['/nothing', '/onehop/nothing', '/deep/nothing'])
        expect(await raw(port, { path, host: 'evil.example' })).toMatchObject({
          status: 404,
          body: 'their 404',
        })
      expect(await raw(port, { path: '/theirs/broken' })).toMatchObject({ status: 500, body: 'their 500' })
      const broken = `${at === '/' ? '' : at}/api/inngest`
      expect(await raw(port, { method: 'POST', path: broken, body: '{' })).toMatchObject({ status: 400 })
    },
  )
})

test('a request that no socket has brought is judged by its URL: Bun and others hand in such', async () => {
  const { app } = await createOnehopApp({ meshFile: writeMesh({ serveOrigin: 'http://panda.example:3111' }) })
  const status = async (url: string, init: RequestInit = {}) =>
    (await app.fetch(new Request(url, init))).status
  expect(await status('http://localhost/')).toBe(200)
  expect(await status('http://panda.example:3111/metrics')).toBe(200)
  expect(await status('http://evil.example/')).toBe(403)
  expect(await status('http://localhost/', { headers: { host: '[0:0:0:0:0:0:0:1]:3111' } })).toBe(200)
  expect(await status('http://localhost/', { headers: { host: 'user@localhost' } })).toBe(403)
  expect(await status('http://localhost/', { headers: { host: '' } })).toBe(403)
  expect(await status('http://localhost/', { headers: { host: 'evil.example' } })).toBe(403)
  expect(await status('http://evil.example/', { headers: { host: 'localhost' } })).toBe(403)
  expect(await status('http://localhost/', { headers: { origin: 'https://evil.example' } })).toBe(403)
  expect(await status('http://localhost/api/inngest', { method: 'PUT' })).toBe(404)
})

describe('what the worker tells anyone', () => {
  const secrets = ['Bearer 5ecret', 'tskey-5ecret', 'the-5ecret-word', 'request-5ecret', 'run-5ecret']

  /** A retired service whose entry holds a piece of a Caddyfile, the word of its soak and a failure that quotes. */
  async function fill() {
    const journal = await openJournal(join(folder, 'state'))
    const { attempt } = await journal.begin('redis', {
      ...{ request: 'request-5ecret', run: 'run-5ecret', cluster: 'uid-5ecret', tailnet: 'a.ts.net' },
    })
    await journal.guarded('redis', attempt, async (entry, save) =>
      save({ ...entry, evidence: { attempt, ask: { word: 'the-5ecret-word', at: 'then' }, paths: [] } }),
    )
    const before = { block: 'header Authorization "Bearer 5ecret"', key: 'tskey-5ecret' }
    await journal.record('redis', attempt, { id: 'route', before, target: before, undone: false })
    const failure = {
      code: 'changed-by-others',
      kind: 'refused',
      message: 'found Bearer 5ecret',
      fix: 'x',
    } as const
    await journal.end('redis', attempt, { state: 'retired', failure })
  }

  test('are names, states, paths and counts', async () => {
    const { port } = await startAlone({ engine: 'http://me:5ecret@127.0.0.1:1/engine?key=5ecret' })
    await fill()
    const { body } = await raw(port, { method: 'GET', path: '/' })
    expect(JSON.parse(body)).toEqual({
      status: 'ok',
      service: 'onehop',
      engine: 'http://127.0.0.1:1/engine',
      functions: expect.arrayContaining(['migrate']),
      services: [
        {
          service: 'redis',
          state: 'retired',
          paths: [{ port: 6379, device: 'tcp://redis.a.ts.net:6379' }],
          changes: 1,
        },
      ],
    })
    const metrics = await raw(port, { method: 'GET', path: '/metrics' })
    for (const secret of [...secrets, '5ecret']) expect(body + metrics.body).not.toContain(secret)
  })

  test('is of a failure its code alone, though its message quotes the file', async () => {
    const { port } = await startAlone({})
    const file = join(folder, 'state/services/redis.json')
    for (const [bad, code] of [
      ['Bearer 5ecret', 'journal-invalid'],
      ['{"version":2,"x":"5ecret"}', 'journal-newer'],
    ] as const) {
      writeFileSync(file, bad)
      const { body } = await raw(port, { method: 'GET', path: '/' })
      expect(JSON.parse(body)).toMatchObject({ services: [], failure: { code } })
      expect(body + (await raw(port, { method: 'GET', path: '/metrics' })).body).not.toMatch(/5ecret|Bearer/)
    }
    writeFileSync(join(folder, 'mesh.yaml'), 'secret: 5ecret')
    const { body } = await raw(port, { method: 'GET', path: '/' })
    expect(JSON.parse(body)).toMatchObject({ failure: { code: 'mesh-invalid' } })
    expect(body).not.toContain('5ecret')
  })
})

/** onehop by itself: the process knows the port that it listens on. */
async function startAlone(wanted: Wanted) {
  const server = createServer()
  const port = await portOf(server)
  const onehop = await createOnehopApp({ meshFile: writeMesh({ ...wanted, port }), port })
  server.on('request', createHandler(onehop.app))
  return { port, onehop }
}

/** onehop in an app with routes, a 404 and a 500 of its own. */
async function startMounted({ at = '/onehop', ...wanted }: Wanted & { at?: string }) {
  const onehop = await createOnehopApp({ meshFile: writeMesh({ ...wanted, path: at === '/' ? '' : at }) })
  const app = new Hono()
  const theirs = (path: string) => app.get(path, (context) => context.text(`theirs: ${context.req.path}`))
  theirs('/theirs/before')
  app.route(at, onehop.app)
  for (const path of ['/theirs/after', '/onehop-too', '/onehopper/metrics']) theirs(path)
  app.get('/theirs/broken', () => {
    throw new SyntaxError('theirs')
  })
  app.notFound((context) => context.text('their 404', 404))
  app.onError((_, context) => context.text('their 500', 500))
  const server = createServer(createHandler(app))
  return { port: await portOf(server), onehop }
}

type Wanted = { engine?: string; serveOrigin?: string; hosts?: string[] }

const createHandler = ({ fetch }: Pick<Hono, 'fetch'>) =>
  createAdaptorServer({ fetch }).listeners('request')[0] as Parameters<typeof createServer>[1] & object

function writeMesh({
  engine = 'http://127.0.0.1:1',
  serveOrigin,
  hosts,
  path = '',
  port = 3111,
}: Wanted & { path?: string; port?: number }): string {
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const file = join(folder, 'mesh.yaml')
  const mesh = {
    kubernetes: { context: 'admin@talos' },
    tailnet: 'a.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile' },
    engine: { url: engine, eventKeyFile: 'event-key', signingKeyFile: 'signing-key', serveOrigin },
    worker: { listen: `127.0.0.1:${port}`, path, hosts },
    state: 'state',
    services: { redis: { service: 'apps/redis', ports: [6379] } },
  }
  writeFileSync(file, JSON.stringify(mesh))
  return file
}

/** Takes registrations as the engine does, and lists no app, so that the worker registers again and again. */
const startEngine = () =>
  listen(
    createServer(async (request, response) => {
      asked.push({ path: request.url, body: JSON.parse((await text(request)) || 'null') })
      response.setHeader('content-type', 'application/json').end('{"ok":true,"modified":true}')
    }),
  )
const registrations = () => asked.filter(({ path }) => path === '/fn/register').map(({ body }) => body)

async function listen(server: Server): Promise<string> {
  return `http://127.0.0.1:${await portOf(server)}`
}

function portOf(server: Server): Promise<number> {
  servers.push(server)
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  )
}

/** As the engine signs, or as somebody does who has another key. */
function signed(body: string, key = signingKey) {
  const time = Math.floor(Date.now() / 1000)
  const signature = createHmac('sha256', key).update(body).update(String(time)).digest('hex')
  return { 'x-inngest-signature': `t=${time}&s=${signature}` }
}

type Asked = {
  method?: string
  path?: string
  host?: string
  headers?: Record<string, string>
  body?: string
}

const raw = (port: number, { method = 'GET', path = '/api/inngest', host, headers = {}, body = '' }: Asked) =>
  exchange(
    port,
    [
      `${method} ${path} HTTP/1.1`,
      `Host: ${host ?? `127.0.0.1:${port}`}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  )

/** One exchange in exactly these bytes: an HTTP client would correct some of them. */
function exchange(port: number, request: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    text(socket).then((answer) => {
      const [head = '', ...rest] = answer.split('\r\n\r\n')
      const chunked = /^transfer-encoding: chunked/im.test(head)
      const body = rest.join('\r\n\r\n')
      const plain = chunked ? body.replace(/^[0-9a-f]+\r\n|\r\n0\r\n$|\r\n[0-9a-f]+\r\n/gi, '') : body
      resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), body: plain.trimEnd() })
    }, reject)
  })
}
