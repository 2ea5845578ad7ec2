import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Disk, type DiskHandle, realDisk } from '../../src/disk.ts'
import { OnehopError } from '../../src/errors.ts'
import { type Journal, openJournal } from '../../src/journal.ts'
import { isLost } from '../../src/journal-records.ts'

let folder: string
let journal: Journal

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-journal-'))
  journal = await openJournal(folder)
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
    await journal.beginRequest(request('first'), 60)
    await journal.begin('redis', start('first'))
    await expect(journal.begin('redis', start('second'))).rejects.toEqual(coded('request-in-progress'))
  })

  test('of two runs that begin together goes to one alone', async () => {
    for (const id of ['a', 'b', 'c']) await journal.beginRequest(request(id), 60)
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

describe('an attempt at a service that was moved already', () => {
  const again = async () => {
    await moved()
    await journal.begin('redis', start('second'))
  }

  test('leaves it moved if it has changed nothing', async () => {
    await again()
    expect(await journal.stay('redis', 2)).toBe(true)
    expect(await journal.read('redis')).toMatchObject({ state: 'moved', attempt: 2, changes: [expose] })
    expect(await journal.read('redis')).not.toHaveProperty('standing')
    expect(await journal.stay('redis', 2)).toBe(false)
  })

  test.each([
    ['another change', () => journal.record('redis', 2, { ...expose, id: 'allow' })],
    ['more of the same', () => journal.extend('redis', 2, 'expose', () => ({ a: 3 }))],
  ])('has to be taken back once it has recorded %s', async (_, change) => {
    await again()
    await change()
    expect(await journal.stay('redis', 2)).toBe(false)
    expect(await journal.read('redis')).toMatchObject({ state: 'exposing' })
  })

  test('that adds to a record keeps what was there before it, and adds nothing where nothing is new', async () => {
    await again()
    await journal.extend('redis', 2, 'expose', () => undefined)
    expect(await journal.stay('redis', 2)).toBe(true)
    await journal.begin('redis', start('third'))
    await journal.extend('redis', 3, 'expose', (target) => ({ ...(target as object), b: 1 }))
    expect((await journal.read('redis'))?.changes).toEqual([{ ...expose, target: { a: 2, b: 1 } }])
  })

  test('is none at a first move, or at one that fell back', async () => {
    await journal.begin('redis', start('first'))
    expect(await journal.stay('redis', 1)).toBe(false)
    await journal.end('redis', 1, { state: 'moved' })
    await journal.fallBack('redis', 1, silent, async () => undefined)
    await journal.begin('redis', start('second'))
    expect(await journal.stay('redis', 2)).toBe(false)
  })
})

const silent = new OnehopError('device-fell-silent', {
  ...{ service: 'redis', name: 'redis.a.ts.net', times: 3, message: 'no answer' },
}).toJSON()

test('what fell back and was rolled back is restored, and no longer fallen back', async () => {
  await moved()
  await journal.fallBack('redis', 1, silent, async () => undefined)
  await journal.beginRollback('redis', { request: 'undo', run: 'r' })
  expect(await journal.end('redis', 2, { state: 'restored' })).not.toHaveProperty('fellBack')
})

test('a writer that has lost its lock never replaces a newer attempt with its own', async () => {
  await journal.begin('redis', start('first'))
  await journal.record('redis', 1, { ...expose, id: 'switch' })
  await journal.end('redis', 1, { state: 'moved' })
  const slept = journal.fallBack('redis', 1, silent, async () => {
    // As if the lock had gone stale: another process goes on meanwhile.
    const other = await openJournal(folder, { ...realDisk, lock: async () => async () => undefined })
    await other.beginRollback('redis', { request: 'undo', run: 'r' })
    await other.end('redis', 2, { state: 'restored' })
  })
  await expect(slept).rejects.toEqual(coded('attempt-superseded'))
  expect(await journal.read('redis')).toMatchObject({ state: 'restored', attempt: 2 })
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

  test('is one that failed before it had any part in the service, too', async () => {
    await journal.beginRequest(request('old undo'), 60)
    await journal.endRequest('old undo', 'run of old undo', { state: 'failed', result: null })
    await nextMillisecond()
    await moved('newer')
    await nextMillisecond()
    await journal.beginRequest(request('old undo', 'rerun'), 60)
    const rerun = { request: 'old undo', run: 'rerun' }
    await expect(journal.beginRollback('redis', rerun)).rejects.toEqual(coded('request-stale'))
    await expect(journal.beginRetire('redis', rerun)).rejects.toEqual(coded('request-stale'))
    await expect(journal.begin('redis', { ...start('old undo'), run: 'rerun' })).rejects.toEqual(
      coded('request-stale'),
    )
  })

  test('is none whose first run was only slower than another request', async () => {
    await journal.beginRequest(request('slow'), 60)
    await nextMillisecond()
    await moved('quick')
    expect(await journal.begin('redis', start('slow'))).toMatchObject({ attempt: 2 })
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

  test('that is for one attempt takes that back, moved or not, and no later one', async () => {
    await moved()
    const undo = { request: 'undo', run: 'r' }
    expect(await journal.beginRollback('redis', { ...undo, attempt: 1 })).toMatchObject({ attempt: 2 })
    await journal.end('redis', 2, { state: 'restored' })
    await journal.begin('redis', start('later'))
    await journal.end('redis', 3, { state: 'moved' })
    await expect(journal.beginRollback('redis', { request: 'again', run: 'r2', attempt: 1 })).rejects.toEqual(
      coded('attempt-superseded'),
    )
  })

  test('of a restored service gives back nothing', async () => {
    await moved()
    await journal.beginRollback('redis', { request: 'undo', run: 'r' })
    await journal.end('redis', 2, { state: 'restored' })
    expect(await journal.beginRollback('redis', { request: 'undo-2', run: 'r2' })).toBeUndefined()
  })

  test('of a retirement alone is refused where there is none: nothing else ends as moved', async () => {
    const undo = { request: 'undo', run: 'r', to: 'moved' } as const
    await journal.begin('redis', start('first'))
    await expect(journal.beginRollback('redis', undo)).rejects.toEqual(coded('not-moved'))
    await journal.beginRollback('redis', { request: 'person', run: 'by hand' })
    await expect(journal.beginRollback('redis', undo)).rejects.toEqual(coded('not-moved'))
    await journal.end('redis', 2, { state: 'rollback-incomplete' })
    await expect(journal.beginRollback('redis', undo)).rejects.toEqual(coded('not-moved'))
  })

  test('of a retirement alone that did not finish may be finished', async () => {
    await moved()
    await journal.beginRetire('redis', { request: 'retire', run: 'r' })
    const undo = { request: 'undo', run: 'r', to: 'moved' } as const
    await journal.beginRollback('redis', undo)
    await journal.end('redis', 3, { state: 'rollback-incomplete' })
    expect(await journal.beginRollback('redis', { ...undo, run: 'r2' })).toMatchObject({
      state: 'rolling-back',
      to: 'moved',
    })
    expect(await journal.end('redis', 4, { state: 'moved' })).not.toHaveProperty('to')
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

  test('that cannot be made is refused at once', async () => {
    writeFileSync(join(folder, 'file'), '')
    await expect(openJournal(join(folder, 'file', 'state'))).rejects.toEqual(coded('journal-unwritable'))
  })

  test('that vanished is refused, and nothing is begun', async () => {
    rmSync(folder, { recursive: true })
    await expect(journal.beginRequest(request('a'), 60)).rejects.toEqual(coded('journal-unwritable'))
  })

  test.each([
    ['from a newer version', '{"version": 2}', 'journal-newer'],
    ['that is no journal', '{"version": 1}', 'journal-invalid'],
    ['that was torn', '{"versi', 'journal-invalid'],
  ])('with a file %s is refused and left as it is', async (_, text, code) => {
    const file = join(folder, 'services/redis.json')
    writeFileSync(file, text)
    await expect(journal.read('redis')).rejects.toEqual(coded(code))
    await expect(journal.list()).rejects.toEqual(coded(code))
    await expect(journal.begin('redis', start('first'))).rejects.toEqual(coded(code))
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  test('held by another process says by whom', async () => {
    const release = await journal.hold('worker', () => {})
    const holder = await readFileSync(join(folder, 'worker.holder'), 'utf8')
    expect(holder).toContain(`pid ${process.pid}`)
    await release()
    await (await journal.hold('worker', () => {}))()
  })
})

test('who waits too long for another writer is told who it is, and changes nothing', async () => {
  await moved()
  const before = readFileSync(join(folder, 'services/redis.json'), 'utf8')
  writeFileSync(join(folder, 'services/redis.json.holder'), 'onehop rollback (pid 4711), since then')
  const held = () => Promise.reject(Object.assign(new Error('held'), { code: 'ELOCKED' }))
  const waiting = await openJournal(folder, { ...realDisk, lock: held })
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  try {
    const refused = expect(waiting.begin('redis', start('second'))).rejects.toMatchObject({
      code: 'journal-locked',
      message: expect.stringContaining('onehop rollback (pid 4711)'),
    })
    await vi.advanceTimersByTimeAsync(200_000)
    await refused
  } finally {
    vi.useRealTimers()
  }
  expect(readFileSync(join(folder, 'services/redis.json'), 'utf8')).toBe(before)
})

const request = (id: string, run = `run of ${id}`) => ({ id, event: 'e', data: {}, run })

describe('a request', () => {
  test('keeps its outcome by its id, whatever the id holds, and gives it back to a rerun', async () => {
    const id = '../../etc/passwd'
    await journal.beginRequest(request(id), 60)
    expect(await journal.endRequest(id, `run of ${id}`, { state: 'completed', result: [1] })).toBe(true)
    expect(await journal.beginRequest(request(id, 'rerun'), 60)).toMatchObject({ result: [1] })
    expect(await journal.readRequest('other')).toBeUndefined()
    expect((await journal.listRequests()).map((each) => each.id)).toEqual([id])
  })

  test('is refused to a second run while the first lives, and given to it once the first is lost', async () => {
    await journal.beginRequest(request('a'), 60)
    await expect(journal.beginRequest(request('a', 'rerun'), 60)).rejects.toEqual(
      coded('request-in-progress'),
    )
    await journal.checkIn('a', 'run of a', { phase: 'soak', seconds: -1 })
    await journal.beginRequest(request('a', 'rerun'), 60)
    await expect(journal.checkIn('a', 'run of a', { phase: 'soak', seconds: 60 })).rejects.toEqual(
      coded('request-superseded'),
    )
    expect(await journal.endRequest('a', 'run of a', { state: 'completed', result: 1 })).toBe(false)
  })

  test('of version 0.1.0 that was left running counts as lost', async () => {
    const old = { id: 'old', event: 'mesh/migration.requested', run: 'r', state: 'running' }
    writeFileSync(join(folder, 'requests/old.json'), JSON.stringify(old))
    const [record] = await journal.listRequests()
    expect(record && isLost(record)).toBe(true)
  })

  test('that was aborted goes on only with what undoes or looks', async () => {
    await journal.beginRequest(request('a'), 60)
    expect(await journal.abortRequest('a', 'rest')).toBe(true)
    const checkIn = (always: boolean) => journal.checkIn('a', 'run of a', { phase: 'p', seconds: 60, always })
    await expect(checkIn(false)).rejects.toEqual(coded('request-aborted'))
    await checkIn(true)
    await journal.endRequest('a', 'run of a', { state: 'failed', result: null })
    expect(await journal.abortRequest('a', 'all')).toBe(false)
  })

  test('that is closed to aborts says how it was aborted before, and can no longer be', async () => {
    await journal.beginRequest(request('a'), 60)
    await journal.abortRequest('a', 'all')
    await journal.beginRequest(request('a'), 60) // the step is run again
    expect(await journal.closeToAborts('a', 'run of a')).toBe('all')
    expect(await journal.abortRequest('a', 'rest')).toBe(false)
    await expect(journal.closeToAborts('a', 'another run')).rejects.toEqual(coded('request-superseded'))
  })

  test('whose run is over leaves its service to the next one', async () => {
    await journal.beginRequest(request('a'), 60)
    await journal.begin('redis', start('a', 'run of a'))
    await expect(journal.begin('redis', start('b'))).rejects.toEqual(coded('request-in-progress'))
    await journal.endRequest('a', 'run of a', { state: 'failed', result: null })
    expect(await journal.begin('redis', start('b'))).toMatchObject({ attempt: 2 })
  })

  test('of a service that nobody carries on is claimed once, and again after the patience', async () => {
    await journal.begin('redis', start('a'))
    expect(await journal.claimRecovery('redis', 1, 60)).toBe(1)
    expect(await journal.claimRecovery('redis', 1, 60)).toBeUndefined()
    expect(await journal.claimRecovery('redis', 1, -1)).toBe(2)
    await journal.end('redis', 1, { state: 'moved' })
    expect(await journal.claimRecovery('redis', 1, -1)).toBeUndefined()
  })
})

test('a code for a forced action is good once, and for that action alone', async () => {
  const code = await journal.issueCode('force redis')
  expect(await journal.redeemCode(code, 'force qdrant')).toBe(false)
  const other = await journal.issueCode('force redis')
  expect(await journal.redeemCode(other, 'force redis')).toBe(true)
  expect(await journal.redeemCode(other, 'force redis')).toBe(false)
  expect(await journal.redeemCode('../services/redis', 'force redis')).toBe(false)
})

test('on a full disk nothing is begun', async () => {
  const full: Disk = {
    ...realDisk,
    open: async (path, flags, mode) => {
      const handle = await realDisk.open(path, flags, mode)
      const refuse = () =>
        Promise.reject(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }))
      return flags === 'wx' ? { ...bound(handle), writeFile: refuse } : handle
    },
  }
  const onFull = await openJournal(folder, full)
  await expect(onFull.beginRequest(request('a'), 60)).rejects.toEqual(coded('journal-unwritable'))
  await expect(onFull.begin('redis', start('a'))).rejects.toEqual(coded('journal-unwritable'))
  expect(await onFull.read('redis')).toBeUndefined()
  expect(readdirSync(join(folder, 'services'))).toEqual([])
})

test('a disk that refuses just now is no broken journal: it can be tried again', async () => {
  await moved()
  const refuse = (path: string) => Promise.reject(Object.assign(new Error(`EIO: ${path}`), { code: 'EIO' }))
  const kind = expect.objectContaining({ code: 'journal-unwritable', kind: 'system' })
  const list = await openJournal(folder, { ...realDisk, readdir: refuse })
  await expect(list.list()).rejects.toEqual(kind)
  await expect(list.listRequests()).rejects.toEqual(kind)
  const read = await openJournal(folder, { ...realDisk, readFile: refuse })
  await expect(read.read('redis')).rejects.toEqual(kind)
})

/** A handle's methods live on its prototype, where a spread does not find them. */
const bound = (handle: DiskHandle): DiskHandle => ({
  writeFile: (text) => handle.writeFile(text),
  sync: () => handle.sync(),
  stat: () => handle.stat(),
  chown: (uid, gid) => handle.chown(uid, gid),
  chmod: (mode) => handle.chmod(mode),
  close: () => handle.close(),
})

test('only an attempt that stood as an Ingress may have asked for a certificate', async () => {
  const journal = await openJournal(folder)
  const of = { namespace: 'apps', name: 'wiki', uid: 'u' }
  const targets = [
    { ...of, annotations: {} },
    { ...of, ingress: { name: 'onehop-wiki', wish: {} } },
  ]
  for (const [index, target] of targets.entries()) {
    const request = `move ${index}`
    const { attempt } = await journal.begin('wiki', { request, run: request, cluster: 'c', tailnet: 't' })
    await journal.record('wiki', attempt, { id: 'expose', before: {}, target, undone: false })
    const back = await journal.beginRollback('wiki', { request: `back ${index}`, run: `back ${index}` })
    await journal.recordUndone('wiki', back?.attempt ?? 0, ['expose'])
    await journal.end('wiki', back?.attempt ?? 0, { state: 'restored' })
  }
  const ended = (await journal.read('wiki'))?.ended ?? {}
  expect(Object.keys(ended).filter((each) => ended[each]?.certificate)).toEqual(['move 1'])
})
