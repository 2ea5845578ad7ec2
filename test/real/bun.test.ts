import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findProgram } from '../../sandbox/cache.ts'
import type { Envelope } from '../../sandbox/worker.ts'
import {
  caddyfile,
  engine,
  meshFile,
  onehop,
  read,
  sendEvent,
  serviceOwned,
  waitFor,
  world,
} from './panda.ts'

const bun = findProgram('bun')
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const mesh = read(meshFile)
let before: unknown

const whole = async () => ({ caddyfile: read(caddyfile), owned: await serviceOwned('qdrant') })
type App = { name: string; url: string; functionCount: number }
const apps = async () => (await engine<{ apps: App[] }>('{ apps { name url functionCount } }')).apps

/** The CLI under Bun, on panda. */
async function onBun(...args: string[]) {
  const { stdout } = await world.panda.run(bun, [file('../../src/cli/main.ts'), ...args, '--json'], {
    reject: false,
  })
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? 'null') as Envelope
}

beforeAll(async () => {
  await onehop('operator', 'install')
  before = await whole()
  await world.server('worker').stop()
  const served = mesh.replace('engine:\n', 'engine:\n  serveOrigin: http://10.89.0.1:3111\n')
  writeFileSync(meshFile, `${served}\nworker: { path: /onehop }\n`)
  await world.panda.spawn('mounted', [bun, file('./mounted-worker.ts'), meshFile, '3111'])
})

afterAll(async () => {
  await onehop('rollback', 'qdrant', '--local')
  await world.server('mounted').stop()
  writeFileSync(meshFile, mesh)
  await world.server('worker').start()
  await waitFor('the worker to be connected again', async () =>
    (await apps()).some(({ name, url }) => name === 'onehop' && !url.startsWith('http://10.89.0.1')),
  )
})

test("in the user's own worker, which is SDK v3 on Bun, each app has its own functions at its own path", async () => {
  const put = ['-sf', '-X', 'PUT', 'http://10.89.0.1:3111/api/inngest']
  await waitFor('the other app', async () => (await world.panda.run('curl', put)).exitCode === 0)
  await waitFor('both to be registered', async () => {
    const found = (await apps()).map(({ name, url }) => `${name} ${url.split('?')[0]}`)
    return [
      'system-bus-host http://10.89.0.1:3111/api/inngest',
      'onehop http://10.89.0.1:3111/onehop/api/inngest',
    ].every((each) => found.includes(each))
  })
  const { envelope } = await onehop('status')
  expect(envelope.result).toMatchObject({ worker: { running: true } })
  const { stdout } = await world.panda.run('curl', ['-sf', 'http://127.0.0.1:3111/onehop/metrics'])
  expect(stdout).toMatch(/^onehop_build_info\{.*runtime="bun".*\} 1$/m)
})

test('a request from outside registers nothing, and the other app still answers every request', async () => {
  const ask = async (method: string, path: string, ...headers: string[]) => {
    const given = headers.flatMap((each) => ['-H', each])
    const args = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', method, ...given]
    return (await world.panda.run('curl', [...args, `http://10.89.0.1:3111${path}`])).stdout
  }
  const before = await apps()
  for (const host of ['10.89.0.1:3111', '127.0.0.1:9999', 'evil.example'])
    for (const path of ['/onehop/api/inngest', '/onehop/api/inngest?deployId=other', '/onehop/%61pi/inngest'])
      expect(await ask('PUT', path, `host: ${host}`)).toBe('404')
  expect(await apps()).toEqual(before)
  for (const path of ['/onehop', '/onehop/metrics', '/onehop/api/inngest'])
    for (const header of ['host: evil.example', 'origin: http://evil.example', 'sec-fetch-site: cross-site'])
      expect(await ask('GET', path, header)).toBe('403')
  expect(await ask('GET', '/onehop')).toBe('200')
  expect(await ask('GET', '/', 'host: evil.example', 'origin: http://evil.example')).toBe('200')
})

test('under Bun a service is moved and taken back, the cluster reached by its own CA and our certificate', async () => {
  expect(await onBun('plan', 'qdrant')).toMatchObject({ ok: true, result: { blocked: 0 } })
  expect(await onBun('expose', 'qdrant')).toMatchObject({ result: { services: [{ state: 'moved' }] } })
  expect(await onBun('rollback', 'qdrant')).toMatchObject({
    result: { service: 'qdrant', state: 'restored' },
  })
  expect(await whole()).toEqual(before)
  expect(read(world.log('mounted'))).not.toMatch(/SELF_SIGNED|Unauthorized/)
})

test("the other app's own function still runs", async () => {
  await sendEvent('greet', 'test/greeted', {})
  await waitFor('its run', () => read(world.log('mounted')).includes('greeted under Bun'))
})
