import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { driftRecord, mostRepairs } from '../../../src/drift-record.ts'
import { OnehopError } from '../../../src/errors.ts'
import { checkDrift } from '../../../src/functions/check-drift.ts'
import { openJournal } from '../../../src/journal.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { createStep, localEngine } from '../../../src/steps/step.ts'
import type { Sent } from '../../../src/systems/engine.ts'
import { smallMesh } from '../small-mesh.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-check-drift-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A cluster in which somebody has exposed a Service by hand, which is drift; and all that was told of it. */
async function strangersWorld({ webhook, books }: { webhook?: () => Promise<void>; books?: string } = {}) {
  const mesh = smallMesh(folder)
  const journal = await openJournal(folder)
  const expose = { value: 'true', manager: 'kubectl' }
  const services = [{ namespace: 'apps', name: 'by-hand', annotations: { 'tailscale.com/expose': expose } }]
  const world = { services, unreachable: false, sent: [] as Sent[] }
  const systems = {
    kubernetes: {
      clusterId: async () => 'uid',
      services: async () => {
        if (world.unreachable) throw new OnehopError('kubernetes-refused', {})
        return world.services
      },
      namespaces: async () => ({}),
      readyPorts: async () => ({}),
      proxies: async () => ({}),
      operator: async () => undefined,
    },
    tailscale: {
      devices: async () => [],
      policy: async () => ({ text: '{}', etag: '1' }),
      peers: async () => ({}),
    },
    caddy: {
      version: async () => '2.11.0',
      readFile: async () => ({ text: '' }),
      compareFile: async () => ({ adapted: {}, variables: [] }),
      running: async () => ({}),
    },
    webhook: { post: webhook },
    books: { read: async () => books },
  }
  if (books !== undefined) Object.assign(mesh, { books: '/BOOKS.md', drift: { ...mesh.drift, repair: true } })
  if (webhook) Object.assign(mesh.drift, { webhookFile: join(import.meta.dirname, 'check-drift.test.ts') })
  const work = { mesh, journal, systems } as unknown as Work
  const setup: Setup = { mesh: async () => mesh, journal: async () => journal, work: async () => work }
  const engine = {
    ...localEngine,
    sendEvent: async (_: string, event: Sent | Sent[]) => {
      world.sent.push(...[event].flat())
      return undefined
    },
  }
  const step = createStep(engine, (_, __, look) => look())
  return { world, journal, check: () => checkDrift(step, { setup, request: 'r' }) }
}

const told = ({ sent }: { sent: Sent[] }) =>
  sent.map(({ name, data }) => `${name} ${data.kind} ${data.subject} ${data.severity}`)

test('what drifted is told once, and once when it is over', async () => {
  const { world, check } = await strangersWorld()
  expect(await check()).toMatchObject({ state: 'completed', drifts: [{ kind: 'exposed-elsewhere' }] })
  await check()
  expect(told(world)).toEqual(['mesh/drift.detected exposed-elsewhere apps/by-hand info'])
  world.services = []
  await check()
  await check()
  expect(told(world).slice(1)).toEqual(['mesh/drift.resolved exposed-elsewhere apps/by-hand info'])
})

test('while the cluster cannot be read nothing is over', async () => {
  const { world, check } = await strangersWorld()
  await check()
  world.unreachable = true
  expect(await check()).toMatchObject({
    state: 'completed',
    drifts: [],
    unread: expect.arrayContaining(['cluster']),
  })
  expect(told(world)).toHaveLength(1)
})

test('a webhook that does not take the news gets them again at the next look; the events are sent once', async () => {
  let refusals = 1
  const posted: number[] = []
  const { world, check } = await strangersWorld({
    webhook: async () => {
      posted.push(refusals)
      if (refusals-- > 0) throw new OnehopError('policy-test-failed', {})
    },
  })
  await check()
  await check()
  await check()
  expect(posted).toEqual([1, 0])
  expect(told(world)).toEqual(['mesh/drift.detected exposed-elsewhere apps/by-hand info'])
})

test('a dead webhook does not keep the end of a drift from being told as an event', async () => {
  const { world, check } = await strangersWorld({
    webhook: async () => {
      throw new OnehopError('policy-test-failed', {})
    },
  })
  await check()
  world.services = []
  await check()
  await check()
  expect(told(world)).toEqual([
    'mesh/drift.detected exposed-elsewhere apps/by-hand info',
    'mesh/drift.resolved exposed-elsewhere apps/by-hand info',
  ])
})

const booksOfOthers = '<!-- onehop: begin -->\n| a row of nobody |\n<!-- onehop: end -->\n'
const asked = ({ sent }: { sent: Sent[] }) =>
  sent.filter(({ name }) => name === 'mesh/drift.repair.requested')

test('a repair is asked for as long as it is not left to a person', async () => {
  const { world, journal, check } = await strangersWorld({ books: booksOfOthers })
  expect(await check()).toMatchObject({ repairs: ['books-edited books'] })
  expect(asked(world)).toMatchObject([{ data: { drifts: ['books-edited books'] } }])
  for (let time = 0; time < mostRepairs; time++)
    await driftRecord(journal).claimRepairs(['books-edited books'])
  expect(await check()).toMatchObject({ repairs: [] })
  expect(asked(world)).toHaveLength(1)
})

test('while a repair is under way no other is asked for', async () => {
  const { world, journal, check } = await strangersWorld({ books: booksOfOthers })
  const repair = { id: 'repair', event: 'mesh/drift.repair.requested', data: {}, run: 'run' }
  await journal.beginRequest(repair, 60)
  await check()
  expect(asked(world)).toEqual([])
  await journal.beginRequest(repair, -1)
  await check()
  expect(asked(world)).toHaveLength(1)
})
