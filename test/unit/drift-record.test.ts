import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { driftRecord, mostRepairs } from '../../src/drift-record.ts'
import { openJournal } from '../../src/journal.ts'
import { type Drift, driftId } from '../../src/plan/drift-kinds.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-drift-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const open = async () => driftRecord(await openJournal(folder))
const drift: Drift = {
  kind: 'no-endpoints',
  subject: 'redis',
  severity: 'critical',
  what: 'Service apps/redis has no ready endpoint for port 6379',
  cure: 'kubectl get pods',
}
const none = { drifts: [], unread: [], unseen: [] }
const found = { drifts: [drift], unread: [], unseen: [] }
const ids = (news: Array<{ kind: Drift['kind']; subject: string }>) => news.map(driftId)

type Open = Awaited<ReturnType<typeof open>>
/** All that there is to tell is told, by both channels. */
async function tellAll(record: Open, { events, webhook }: Awaited<ReturnType<Open['note']>>) {
  await record.told(events, 'sent')
  await record.told(webhook, 'posted')
}
const nothing = { detected: [], resolved: [] }

test('a drift is told once, and once when it is over', async () => {
  const record = await open()
  const first = await record.note(found)
  expect(ids(first.events.detected)).toEqual(['no-endpoints redis'])
  await tellAll(record, first)
  expect(await record.note(found)).toMatchObject({ events: nothing, webhook: nothing })
  const over = await record.note(none)
  expect(ids(over.events.resolved)).toEqual(['no-endpoints redis'])
  expect(ids(over.webhook.resolved)).toEqual(['no-endpoints redis'])
  await tellAll(record, over)
  expect(await record.note(none)).toMatchObject({ events: nothing, webhook: nothing })
})

test('what could not be told is told again at the next look, also by another worker', async () => {
  const first = await (await open()).note(found)
  const again = await (await open()).note(found)
  expect(ids(again.events.detected)).toEqual(['no-endpoints redis'])
  expect(again.events.detected[0]?.since).toBe(first.events.detected[0]?.since)
})

test('what only one channel has taken is over only there, and new only to the other', async () => {
  const record = await open()
  await record.told((await record.note(found)).events, 'sent')
  expect(await record.note(found)).toMatchObject({ events: nothing, webhook: { detected: [drift] } })
  const over = await record.note(none)
  expect(ids(over.events.resolved)).toEqual(['no-endpoints redis'])
  expect(over.webhook).toEqual(nothing)
  await record.told(over.events, 'sent')
  expect(await record.note(none)).toMatchObject({ events: nothing, webhook: nothing })
})

test('what came and went untold is not told as over', async () => {
  const record = await open()
  await record.note(found)
  expect(await record.note(none)).toMatchObject({ events: nothing, webhook: nothing })
})

test('of a part that cannot be read nothing is over', async () => {
  const record = await open()
  await tellAll(record, await record.note(found))
  expect(await record.note({ drifts: [], unread: ['cluster'], unseen: [] })).toMatchObject({
    events: nothing,
    webhook: nothing,
  })
  expect(ids((await record.last())?.drifts ?? [])).toEqual(['no-endpoints redis'])
  const { events } = await record.note({ drifts: [], unread: ['caddy'], unseen: [] })
  expect(ids(events.resolved)).toEqual(['no-endpoints redis'])
})

test('of a service that is on its way nothing is over', async () => {
  const record = await open()
  await tellAll(record, await record.note(found))
  const underWay = { ...none, unseen: [{ subject: 'redis', why: 'it is rolling-back' }] }
  expect(await record.note(underWay)).toMatchObject({ events: nothing, webhook: nothing })
  expect(ids((await record.note(none)).events.resolved)).toEqual(['no-endpoints redis'])
})

test('of a part of a service that cannot be seen nothing is over', async () => {
  const record = await open()
  const silent = { ...drift, kind: 'device-silent' as const }
  await tellAll(record, await record.note({ ...found, drifts: [drift, silent] }))
  const unseen = [{ subject: 'redis', part: 'paths' as const, why: 'no answer' }]
  expect(ids((await record.note({ ...none, unseen })).events.resolved)).toEqual(['no-endpoints redis'])
})

test('what comes back before its end was told was never over', async () => {
  const record = await open()
  await tellAll(record, await record.note(found))
  await record.note(none)
  const { events } = await record.note(found)
  expect(events.resolved).toEqual([])
  expect(ids(events.detected)).toEqual(['no-endpoints redis'])
})

test('the third repair within an hour is the last, and the severity is raised', async () => {
  const record = await open()
  const edited = { ...drift, kind: 'tag-edited' as const, severity: 'warning' as const }
  await tellAll(record, await record.note({ drifts: [edited], unread: [], unseen: [] }))
  for (let time = 0; time < mostRepairs; time++)
    expect(await record.claimRepairs(['tag-edited redis', `other ${time}`])).toEqual([])
  expect(await record.claimRepairs(['tag-edited redis'])).toEqual(['tag-edited redis'])
  const { detected } = (await record.note({ drifts: [edited], unread: [], unseen: [] })).events
  expect(detected[0]).toMatchObject({
    severity: 'critical',
    what: expect.stringContaining('repaired 3 times'),
  })
})

test('what is left to a person is named, and stays critical until it is gone', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  const record = await open()
  const edited = { ...found, drifts: [{ ...drift, severity: 'warning' as const }] }
  expect((await record.note(edited)).spent).toEqual([])
  for (let time = 0; time < mostRepairs; time++) await record.claimRepairs(['no-endpoints redis'])
  const raised = await record.note(edited)
  expect(raised.spent).toEqual(['no-endpoints redis'])
  await tellAll(record, raised)
  vi.setSystemTime(Date.now() + 3_700_000)
  expect(await record.note(edited)).toMatchObject({ events: nothing, spent: [] })
  expect((await record.last())?.drifts).toMatchObject([{ severity: 'critical' }])
  await record.note(none)
  expect((await record.note(edited)).events.detected).toMatchObject([{ severity: 'warning' }])
})

test('what was repaired more than an hour ago counts no more', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  const record = await open()
  const minutes = (count: number) => vi.setSystemTime(Date.now() + count * 60_000)
  await record.claimRepairs(['no-endpoints redis'])
  await record.claimRepairs(['no-endpoints redis'])
  minutes(50)
  await record.claimRepairs(['no-endpoints redis'])
  minutes(15)
  const warned = { drifts: [{ ...drift, severity: 'warning' as const }], unread: [], unseen: [] }
  const { detected } = (await record.note(warned)).events
  expect(detected[0]).toMatchObject({ severity: 'warning', what: drift.what })
})
