import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createWorkflows } from '../../../src/functions/workflows.ts'
import { openJournal } from '../../../src/journal.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { localEngine } from '../../../src/steps/step.ts'
import { badIds, badNames } from '../bad-names.ts'
import { smallMesh } from '../small-mesh.ts'

// Events as anybody can send them who reaches the engine: by name and id they lead nowhere but to what mesh.yaml names.
let around: string
let setup: Setup
const touched: string[] = []

beforeEach(async () => {
  around = mkdtempSync(join(tmpdir(), 'onehop-names-'))
  mkdirSync(join(around, 'outside'))
  writeFileSync(join(around, 'outside/secret.json'), 'the first bytes of a secret')
  const mesh = { ...smallMesh(around), state: join(around, 'state') }
  const systems = new Proxy(
    {},
    {
      get: (_, system) =>
        new Proxy(
          {},
          { get: (_, call) => async () => void touched.push(`${String(system)}.${String(call)}`) },
        ),
    },
  ) as Work['systems']
  const journal = () => openJournal(mesh.state)
  setup = { mesh: async () => mesh, journal, work: async () => ({ mesh, journal: await journal(), systems }) }
  await journal()
  touched.length = 0
})
afterEach(() => rmSync(around, { recursive: true, force: true }))

const files = () => readdirSync(around, { recursive: true, encoding: 'utf8' }).sort()

/** What becomes of an event: the error of its run, with all that it says. */
async function ended(name: string, data: unknown, id: string): Promise<string> {
  const workflow = createWorkflows(setup, async () => undefined).find(({ triggers }) =>
    triggers.some((each) => 'event' in each && each.event === name),
  )
  try {
    const event = { id, name, data: data as Record<string, unknown> }
    return `ended: ${JSON.stringify(await workflow?.run({ event, runId: 'run', step: localEngine }))}`
  } catch (thrown) {
    const { message, cause } = thrown as Error
    return `${message} ${JSON.stringify(cause)}`
  }
}

describe.each([
  ['mesh/service.rollback.requested', (name: string) => ({ service: name })],
  ['mesh/service.rollback.requested', (name: string) => ({ service: name, attempt: 1, to: 'moved' })],
  ['mesh/service.expose.requested', (name: string) => ({ service: name })],
  ['mesh/service.retire.requested', (name: string) => ({ service: name })],
  ['mesh/rollback.requested', (name: string) => ({ services: ['redis', name] })],
  ['mesh/migration.requested', (name: string) => ({ services: [name] })],
  ['mesh/migration.continued', (name: string) => ({ request: 'r', run: 'r', services: [name], done: [] })],
  [
    'mesh/path.probed',
    (name: string) => ({
      ...{ service: name, attempt: 1, vantage: 'dark-wizard', ask: 'word' },
      ...{ answers: [], direct: 0, relayed: 0 },
    }),
  ],
] as const)('%s', (event, dataOf) => {
  test('with a name that is none is refused before any system or any file is touched', async () => {
    for (const [index, name] of badNames.entries()) {
      const before = files().filter((file) => !file.startsWith('state/requests'))
      const answer = await ended(event, dataOf(name), `by-${index}`)
      expect([name, answer]).toEqual([name, expect.stringContaining('event-invalid')])
      expect(answer).not.toContain('the first bytes')
      expect([name, files().filter((file) => !file.startsWith('state/requests'))]).toEqual([name, before])
    }
    expect(touched).toEqual([])
    expect(readFileSync(join(around, 'outside/secret.json'), 'utf8')).toBe('the first bytes of a secret')
  })
})

test('an event under an id that is none is refused, and nothing is kept of it', async () => {
  const before = files()
  for (const id of badIds)
    for (const [name, data] of [
      ['mesh/service.rollback.requested', { service: 'redis' }],
      ['mesh/migration.requested', {}],
      ['mesh/drift.check.requested', {}],
    ] as const)
      expect([id, await ended(name, data, id)]).toEqual([id, expect.stringContaining('event-invalid')])
  expect(touched).toEqual([])
  expect(files()).toEqual(before)
})

test.each([
  ['mesh/migration.continued', { request: '../../outside/secret', run: 'r', services: ['redis'], done: [] }],
  ['mesh/migration.continued', { request: 'r', run: '..', services: ['redis'], done: [] }],
  ['mesh/migration.abort.requested', { request: '../../outside/secret' }],
  ['mesh/service.rollback.requested', { service: 'redis', force: '../../outside/secret' }],
  ['mesh/service.retire.requested', { service: 'redis', force: '../requests/r' }],
])('%s with %j is refused', async (name, data) => {
  expect(await ended(name, data, 'r1')).toContain('event-invalid')
  expect(touched).toEqual([])
})

test('the ids that onehop makes are taken, and each has its record', async () => {
  const ids = ['01KAZ3V8T9P4M6N2Q1R0S5W7XY', 'r1/redis/3/rollback', 'r1/redis/resumed', 'r1/redis/2/recover']
  for (const id of ids) await ended('mesh/migration.abort.requested', {}, id)
  const known = await (await setup.journal()).listRequests()
  expect(known.map((each) => each.id).sort()).toEqual(ids.toSorted())
})
