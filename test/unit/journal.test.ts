import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createJournal, type Journal } from '../../src/journal.ts'

let folder: string
let journal: Journal

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-journal-'))
  journal = createJournal(folder)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const start = (request: string, run = `run of ${request}`) => ({
  request,
  run,
  cluster: 'uid-1',
  tailnet: 'a.ts.net',
})
const expose = { id: 'expose', before: { a: 1 }, target: { a: 2 }, uid: 'uid-svc', undone: false } as const
const coded = (code: string) => expect.objectContaining({ code })

/** A service that is moved, by attempt 1. */
async function moved(request = 'first') {
  const { attempt } = await journal.begin('redis', start(request))
  await journal.record('redis', attempt, expose)
  await journal.end('redis', attempt, { state: 'moved' })
}

/** `ended` is ordered by time, and two ends within one millisecond have no order. */
const nextMillisecond = async () => {
  const now = Date.now()
  while (Date.now() === now) await new Promise((resolve) => setImmediate(resolve))
}

describe('an attempt', () => {
  test('takes the number 1, and the same run finds its own attempt again', async () => {
    expect(await journal.begin('redis', start('first'))).toMatchObject({ attempt: 1, state: 'exposing' })
    expect(await journal.begin('redis', start('first'))).toMatchObject({ attempt: 1 })
  })

  test('of another run is refused while one is in progress', async () => {
    await journal.begin('redis', start('first'))
    await expect(journal.begin('redis', start('second'))).rejects.toEqual(coded('request-in-progress'))
  })

  test('of two runs that begin together goes to one alone', async () => {
    const all = await Promise.allSettled(['a', 'b', 'c'].map((id) => journal.begin('redis', start(id))))
    expect(all.filter((each) => each.status === 'fulfilled')).toHaveLength(1)
  })

  test('at a moved service takes the next number and keeps the way back to the very beginning', async () => {
    await moved()
    expect(await journal.begin('redis', start('second'))).toMatchObject({ attempt: 2, changes: [expose] })
    expect(await journal.record('redis', 2, { ...expose, before: { a: 2 } })).toEqual(expose)
  })

  test('at a restored service starts with no records', async () => {
    await moved()
    const rollback = await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    await journal.end('redis', rollback?.attempt ?? 0, { state: 'restored' })
    expect(await journal.begin('redis', start('third'))).toMatchObject({ attempt: 3, changes: [] })
  })

  test('in another cluster is refused, but not once the service is restored', async () => {
    await moved()
    const elsewhere = { ...start('second'), cluster: 'uid-2' }
    await expect(journal.begin('redis', elsewhere)).rejects.toEqual(coded('cluster-changed'))
    await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    await journal.end('redis', 2, { state: 'restored' })
    expect(await journal.begin('redis', elsewhere)).toMatchObject({ cluster: 'uid-2' })
  })
})

describe('a stale request', () => {
  test('is refused once a newer one has ended', async () => {
    await moved('first')
    await nextMillisecond()
    await moved('second')
    await expect(journal.begin('redis', start('first', 'rerun'))).rejects.toEqual(coded('request-stale'))
  })

  test('is not the newest one: it may be tried again', async () => {
    await moved('first')
    expect(await journal.begin('redis', start('first', 'rerun'))).toMatchObject({ attempt: 2 })
  })
})

describe('a superseded attempt', () => {
  test('changes nothing more, once a rollback has begun', async () => {
    const { attempt } = await journal.begin('redis', start('first'))
    await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    let written = false
    const late = journal.guarded('redis', attempt, async () => {
      written = true
    })
    await expect(late).rejects.toEqual(coded('attempt-superseded'))
    expect(written).toBe(false)
    await expect(journal.record('redis', attempt, expose)).rejects.toEqual(coded('attempt-superseded'))
    await expect(journal.end('redis', attempt, { state: 'moved' })).rejects.toEqual(
      coded('attempt-superseded'),
    )
    expect(await journal.read('redis')).toMatchObject({ attempt: 2, state: 'rolling-back', changes: [] })
  })
})

describe('a rollback', () => {
  test('of a service that was never touched has nothing to undo', async () => {
    await expect(journal.beginRollback('redis', { request: 'undo', run: 'r' })).rejects.toEqual(
      coded('nothing-to-undo'),
    )
  })

  test('takes over, keeps why, and finds its own attempt again', async () => {
    await journal.begin('redis', start('first'))
    const failure = { code: 'port-silent', kind: 'proof', message: 'm', fix: 'f' } as const
    const undo = { request: 'undo', run: 'r', failure }
    expect(await journal.beginRollback('redis', undo)).toMatchObject({
      attempt: 2,
      state: 'rolling-back',
      failure,
    })
    expect(await journal.beginRollback('redis', undo)).toMatchObject({ attempt: 2 })
  })

  test('that died is taken up by another run with the next number', async () => {
    await moved()
    await journal.beginRollback('redis', { request: 'undo', run: 'r1' })
    expect(await journal.beginRollback('redis', { request: 'again', run: 'r2' })).toMatchObject({
      attempt: 3,
    })
  })

  test('of a restored service gives back nothing', async () => {
    await moved()
    await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    await journal.end('redis', 2, { state: 'restored' })
    expect(await journal.beginRollback('redis', { request: 'undo-2', run: 'r2' })).toBeUndefined()
  })

  test('that did not finish has to be finished before anything else', async () => {
    await moved()
    await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    await journal.end('redis', 2, { state: 'rollback-incomplete' })
    await expect(journal.begin('redis', start('second'))).rejects.toEqual(coded('rollback-pending'))
    expect(await journal.beginRollback('redis', { request: 'again', run: 'r2' })).toMatchObject({
      changes: [expose],
    })
  })
})

describe('the folder', () => {
  test('holds one file per service, for its owner alone, and no leftovers', async () => {
    await moved()
    expect(readdirSync(join(folder, 'services'))).toEqual(['redis.json'])
    expect(statSync(join(folder, 'services/redis.json')).mode & 0o777).toBe(0o600)
    expect((await journal.list()).map((each) => each.service)).toEqual(['redis'])
  })

  test('that cannot be made is refused at once', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => createJournal(join(folder, 'file', 'state'))).toThrow(coded('journal-unwritable'))
  })

  test('that vanished is refused, and nothing is begun', async () => {
    rmSync(folder, { recursive: true })
    await expect(journal.saveRequest({ id: 'a', event: 'e', run: 'r', state: 'running' })).rejects.toEqual(
      coded('journal-unwritable'),
    )
  })

  test('with a file that is not a journal of this version is refused and left as it is', async () => {
    const file = join(folder, 'services/redis.json')
    writeFileSync(file, '{"version": 2}')
    await expect(journal.read('redis')).rejects.toEqual(coded('journal-invalid'))
    await expect(journal.begin('redis', start('first'))).rejects.toEqual(coded('journal-invalid'))
    expect(readFileSync(file, 'utf8')).toBe('{"version": 2}')
  })

  test('keeps the outcome of each request by its id, whatever the id holds', async () => {
    const record = { id: '../../etc/passwd', event: 'e', run: 'r', state: 'completed', result: [1] } as const
    await journal.saveRequest(record)
    expect(await journal.readRequest(record.id)).toEqual(record)
    expect(await journal.readRequest('other')).toBeUndefined()
    expect(readdirSync(join(folder, 'requests'))).toHaveLength(1)
  })
})
