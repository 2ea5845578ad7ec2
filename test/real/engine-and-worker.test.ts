import { cpSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { engine, entryOf, meshFile, onehop, read, waitFor, world } from './panda.ts'

type App = { name: string; method: string; connected: boolean; url: string }
const ours = async () =>
  (await engine<{ apps: App[] }>('{ apps { name method connected url } }')).apps.filter(
    ({ name }) => name === 'onehop',
  )
const known = async (by: (app: App) => boolean) => (await ours()).some(by)

/** Asks the worker to register, without any key, as any client of its port can. @returns the status */
async function put(at: string, ...headers: string[]): Promise<string> {
  const given = headers.flatMap((each) => ['-H', each])
  const args = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', 'PUT', ...given, at]
  return (await world.panda.run('curl', args)).stdout
}

beforeAll(async () => {
  await onehop('operator', 'install')
})

afterAll(async () => {
  await onehop('rollback', 'typesense', '--local')
})

test('an engine that went away and came back has the worker again, and carries out the next request', async () => {
  await world.kubectl(['-n', 'joelclaw', 'delete', 'pod', 'inngest-0', '--grace-period=0', '--force'])
  await waitFor('the engine to be back with the worker', () => known((app) => app.connected), 120)
  await waitFor(
    'a request to be carried out',
    async () => (await onehop('expose', 'typesense')).envelope.ok,
    120,
  )
})

test('who reaches the port of the worker reads names, states and paths, and nothing else of the journal', async () => {
  const { stdout } = await world.panda.run('curl', ['-s', 'http://127.0.0.1:3111/'])
  const entry = entryOf('typesense')
  expect(JSON.parse(stdout).services).toContainEqual({
    service: 'typesense',
    state: 'moved',
    paths: [expect.objectContaining({ port: 8108 })],
    changes: entry?.changes.length,
  })
  for (const secret of [entry?.request, entry?.run, entry?.cluster, 'before', 'target'])
    expect(stdout).not.toContain(secret)
})

test('in connect mode an unauthenticated PUT changes nothing, and the next request reaches our worker', async () => {
  const before = await ours()
  expect(before).toMatchObject([{ method: 'CONNECT', connected: true }])
  for (const host of ['127.0.0.1:9999', '127.0.0.1:3111', 'evil.example'])
    expect(await put('http://127.0.0.1:3111/api/inngest', `host: ${host}`)).toBe('404')
  expect(await ours()).toEqual(before)
  // There is no migration to stop, which only our worker's journal can tell.
  expect((await onehop('abort')).envelope.error).toMatchObject({ code: 'nothing-to-abort' })
})

test('with serveOrigin the engine calls the worker, which registers itself', async () => {
  await onehop('rollback', 'typesense', '--local')
  await world.server('worker').stop()
  cpSync(meshFile, `${meshFile}.saved`)
  const served = 'engine:\n  serveOrigin: http://10.89.0.1:3111'
  writeFileSync(
    meshFile,
    `${read(meshFile).replace('engine:\n', `${served}\n`)}\nworker: { listen: 0.0.0.0:3111 }\n`,
  )
  try {
    await world.server('worker').start()
    const endpoint = 'http://10.89.0.1:3111/api/inngest'
    await waitFor('the registration', () => known((app) => app.url.split('?')[0] === endpoint))
    const before = await ours()
    for (const headers of [
      [],
      ['host: 127.0.0.1:9999'],
      ['host: evil.example', 'x-forwarded-host: evil.example'],
    ])
      for (const at of [endpoint, `${endpoint}?deployId=other`, 'http://127.0.0.1:3111/%61pi/inngest'])
        expect(await put(at, ...headers)).toMatch(/^4/)
    expect(await ours()).toEqual(before)
    const { envelope } = await onehop('expose', 'typesense')
    expect(envelope).toMatchObject({
      ok: true,
      result: { services: [{ name: 'typesense', state: 'moved' }] },
    })
  } finally {
    await world.server('worker').stop()
    cpSync(`${meshFile}.saved`, meshFile)
    await world.server('worker').start()
    await waitFor('the worker to be connected again', () =>
      known((app) => app.connected && !app.url.startsWith('http://10.89.0.1')),
    )
  }
})
