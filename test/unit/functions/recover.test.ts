import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { recoverLost } from '../../../src/functions/recover.ts'
import { rollback } from '../../../src/functions/rollback.ts'
import { type Journal, openJournal } from '../../../src/journal.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import type { Sent } from '../../../src/systems/engine.ts'
import { localStep } from '../local-step.ts'
import { smallMesh } from '../small-mesh.ts'

// What is taken up of a run that was lost, over a journal on disk and a world in which there is nothing to undo.
let folder: string
let journal: Journal
let setup: Setup
const sent: Sent[] = []
const send = async (event: Sent) => sent.push(event)
const gone = () => Promise.reject(new Error('no engine'))

beforeEach(async () => {
  sent.length = 0
  folder = mkdtempSync(join(tmpdir(), 'onehop-recover-'))
  journal = await openJournal(folder)
  const mesh = smallMesh(folder)
  const work = { mesh, journal, systems: { kubernetes: { clusterId: async () => 'uid' } } } as unknown as Work
  setup = { mesh: async () => mesh, journal: async () => journal, work: async () => work }
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A request whose run has missed its deadline. */
const lost = (id: string) => journal.beginRequest({ id, event: 'e', data: {}, run: `run of ${id}` }, -1)
const by = (request: string) => ({ request, run: `run of ${request}` })
const soaked = new OnehopError('soak-failed', {
  service: 'redis',
  failures: 1,
  probes: 9,
  last: 'no answer',
}).toJSON()

async function moved() {
  const { attempt } = await journal.begin('redis', { ...by('move'), cluster: 'uid', tailnet: 'a.ts.net' })
  await journal.end('redis', attempt, { state: 'moved' })
}

test.each([
  ['by the engine', send],
  ['by the worker itself', gone],
])('the lost rollback of a retirement leads to where it was to lead, %s', async (_, how) => {
  await moved()
  await journal.beginRetire('redis', by('retire'))
  await lost('undo')
  await journal.beginRollback('redis', { ...by('undo'), attempt: 2, failure: soaked, to: 'moved' })
  await recoverLost(setup, how)
  if (how === send) expect(sent).toMatchObject([{ data: { attempt: 3, to: 'moved', failure: soaked } }])
  else expect(await journal.read('redis')).toMatchObject({ state: 'moved', failure: soaked })
  expect((await journal.read('redis'))?.to).toBe(how === send ? 'moved' : undefined)
})

test('a rollback by a person of a retirement that is being taken back leads to the very beginning', async () => {
  await moved()
  await journal.beginRetire('redis', by('retire'))
  await journal.beginRollback('redis', { ...by('undo'), to: 'moved' })
  await journal.beginRollback('redis', by('person'))
  await lost('person')
  await recoverLost(setup, send)
  expect(sent).toMatchObject([{ data: { attempt: 4 } }])
  expect(sent[0]?.data).not.toHaveProperty('to')
})

test('a rollback that is lost too does not hide why the service is put back', async () => {
  await moved()
  await lost('undo')
  await journal.beginRollback('redis', { ...by('undo'), failure: soaked })
  await recoverLost(setup, gone)
  expect(await journal.read('redis')).toMatchObject({ state: 'restored', failure: { code: 'soak-failed' } })
  expect(await journal.readRequest('undo')).toMatchObject({ failure: { code: 'run-lost' } })
})

test('what the worker has rolled back by itself may be asked for again by a rerun', async () => {
  await journal.begin('redis', { ...by('move'), cluster: 'uid', tailnet: 'a.ts.net' })
  await lost('move')
  await recoverLost(setup, gone)
  expect(await journal.read('redis')).toMatchObject({ state: 'restored', failure: { code: 'run-lost' } })
  const rerun = { request: 'move', run: 'rerun', cluster: 'uid', tailnet: 'a.ts.net' }
  await journal.beginRequest({ id: 'move', event: 'e', data: {}, run: 'rerun' }, 60)
  expect(await journal.begin('redis', rerun)).toMatchObject({ state: 'exposing' })
})

test('a lost migration that only looked again at what is moved takes nothing back', async () => {
  await moved()
  await lost('again')
  await journal.begin('redis', { ...by('again'), cluster: 'uid', tailnet: 'a.ts.net' })
  expect(await recoverLost(setup, send)).toMatchObject([{ service: 'redis' }])
  expect(sent).toEqual([])
  expect(await journal.read('redis')).toMatchObject({ state: 'moved', attempt: 2 })
})

test("a rollback is refused before its first change where another service's record is of a newer onehop", async () => {
  await moved()
  const before = await journal.read('redis')
  writeFileSync(join(folder, 'services/qdrant.json'), '{"version": 2}')
  const results = await rollback(localStep, { setup, services: ['redis'], ...by('undo') })
  expect(results).toMatchObject([{ state: 'refused', failure: { code: 'journal-newer' } }])
  expect(await journal.read('redis')).toEqual(before)
})
