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
const none = { drifts: [], unread: [] }
const found = { drifts: [drift], unread: [] }
const ids = (news: Array<{ kind: Drift['kind']; subject: string }>) => news.map(driftId)

test('a drift is told once, and once when it is over', async () => {
  const record = await open()
  const first = await record.note(found)
  expect(ids(first.detected)).toEqual(['no-endpoints redis'])
  await record.told(first)
  expect(await record.note(found)).toEqual({ detected: [], resolved: [] })
  const over = await record.note(none)
  expect(ids(over.resolved)).toEqual(['no-endpoints redis'])
  await record.told(over)
  expect(await record.note(none)).toEqual({ detected: [], resolved: [] })
})

test('what could not be told is told again at the next look, also by another worker', async () => {
  const first = await (await open()).note(found)
  const again = await (await open()).note(found)
  expect(ids(again.detected)).toEqual(['no-endpoints redis'])
  expect(again.detected[0]?.since).toBe(first.detected[0]?.since)
})

test('what came and went untold is not told as over', async () => {
  const record = await open()
  await record.note(found)
  expect(await record.note(none)).toEqual({ detected: [], resolved: [] })
})

test('of a part that cannot be read nothing is over', async () => {
  const record = await open()
  await record.told(await record.note(found))
  expect(await record.note({ drifts: [], unread: ['cluster'] })).toEqual({ detected: [], resolved: [] })
  expect(ids((await record.last())?.drifts ?? [])).toEqual(['no-endpoints redis'])
  expect(ids((await record.note({ drifts: [], unread: ['caddy'] })).resolved)).toEqual(['no-endpoints redis'])
})

test('what comes back before its end was told was never over', async () => {
  const record = await open()
  await record.told(await record.note(found))
  await record.note(none)
  const back = await record.note(found)
  expect(back.resolved).toEqual([])
  expect(ids(back.detected)).toEqual(['no-endpoints redis'])
})

test('the third repair within an hour is the last, and the severity is raised', async () => {
  const record = await open()
  const edited = { ...drift, kind: 'tag-edited' as const, severity: 'warning' as const }
  await record.told(await record.note({ drifts: [edited], unread: [] }))
  for (let time = 0; time < mostRepairs; time++)
    expect(await record.claimRepairs(['tag-edited redis', `other ${time}`])).toEqual([])
  expect(await record.claimRepairs(['tag-edited redis'])).toEqual(['tag-edited redis'])
  const { detected } = await record.note({ drifts: [edited], unread: [] })
  expect(detected[0]).toMatchObject({
    severity: 'critical',
    what: expect.stringContaining('repaired 3 times'),
  })
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
  const { detected } = await record.note({ drifts: [{ ...drift, severity: 'warning' }], unread: [] })
  expect(detected[0]).toMatchObject({ severity: 'warning', what: drift.what })
})
