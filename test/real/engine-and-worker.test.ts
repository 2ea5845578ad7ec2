import { cpSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { engine, meshFile, onehop, read, waitFor, world } from './panda.ts'

type Apps = { apps: Array<{ name: string; connected: boolean; url: string }> }
const known = async (by: (app: Apps['apps'][number]) => boolean) =>
  (await engine<Apps>('{ apps { name connected url } }')).apps.some(
    (each) => each.name === 'onehop' && by(each),
  )

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
    await waitFor('the registration', () => known((app) => app.url.startsWith('http://10.89.0.1:3111')))
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
