import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Journal, openJournal } from '../../src/journal.ts'
import { isFileName, statePath, statePaths } from '../../src/state-paths.ts'
import { badNames } from './bad-names.ts'

let around: string
let folder: string
let journal: Journal

/** The state folder is beside other files. */
beforeEach(async () => {
  around = mkdtempSync(join(tmpdir(), 'onehop-paths-'))
  folder = join(around, 'state')
  mkdirSync(join(around, 'outside'))
  writeFileSync(join(around, 'outside/secret.json'), 'the first bytes of a secret')
  journal = await openJournal(folder)
})
afterEach(() => rmSync(around, { recursive: true, force: true }))

const files = () => readdirSync(around, { recursive: true, encoding: 'utf8' }).sort()

describe.each(badNames)('the name %j', (name) => {
  test('opens, locks and makes no file, whatever is asked of the journal', async () => {
    const before = files()
    const start = { request: 'r', run: 'r', cluster: 'c', tailnet: 't' }
    const change = { id: 'expose', before: {}, target: {}, undone: false } as const
    const calls: Array<() => Promise<unknown>> = [
      () => journal.read(name),
      () => journal.begin(name, start),
      () => journal.beginRetire(name, start),
      () => journal.beginRollback(name, start),
      () => journal.guarded(name, 1, async () => undefined),
      () => journal.expectCurrent(name, 1),
      () => journal.record(name, 1, change),
      () => journal.extend(name, 1, 'expose', () => ({})),
      () => journal.stay(name, 1),
      () => journal.recordUndone(name, 1, ['expose']),
      () => journal.noteProbe(name, 1, 1),
      () => journal.end(name, 1, { state: 'moved' }),
      () => journal.claimRecovery(name, 1, 1),
      () => journal.repair(name, 1, { request: 'r', drift: 'd' }, async () => undefined),
      () => journal.saveUsage(name, []),
    ]
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'service-name-invalid' })
    expect(await journal.readUsage(name)).toEqual([])
    expect(files()).toEqual(before)
  })

  test('is no name of a document, of a lock or of what is held, where it is no plain file name', async () => {
    if (isFileName(name)) return
    const before = files()
    await expect(journal.exclusively(name, async () => undefined)).rejects.toThrow('cannot name a file')
    await expect(journal.hold(name, () => undefined)).rejects.toThrow('cannot name a file')
    expect(files()).toEqual(before)
  })
})

describe('ids', () => {
  const record = (id: string) => ({ id, event: 'e', data: {}, run: 'run' })

  test.each([
    '01KAZ3V8T9P4M6N2Q1R0S5W7XY',
    '0b6c1d3e-9a55-4f7e-8f0e-9f1a2b3c4d5e',
    'r1/redis/3/rollback',
    '01KAZ3V8T9P4M6N2Q1R0S5W7XY/redis/3/recover/local-0b6c1d3e-9a55-4f7e-8f0e-9f1a2b3c4d5e',
    ...['../../outside/secret', '..', '', '__proto__', 'constructor', 'a\0b', 'x'.repeat(3000)],
    ...['CON', 'nul.json', 'policy', 'r\u00e9dis', '-'],
  ])('%j: the request has one file of its own, in its folder', async (id) => {
    const before = files()
    await journal.beginRequest(record(id), 60)
    const made = files().filter((file) => !before.includes(file))
    expect(made).toEqual([expect.stringMatching(/^state\/requests\/[\w-]+\.json$/)])
    expect(await journal.readRequest(id)).toMatchObject({ id, state: 'running' })
    expect((await journal.listRequests()).map((each) => each.id)).toEqual([id])
  })

  test('the id that is the hash of another has another file, so that no event takes the place of a rollback', async () => {
    const rollback = 'r1/redis/3/rollback'
    await journal.beginRequest(record(rollback), 60)
    const [file = ''] = readdirSync(join(folder, 'requests'))
    const hash = file.replace(/\.json$/, '')
    expect(hash).toMatch(/^[0-9a-f]{64}$/)
    for (const id of [hash, hash.toUpperCase()]) {
      expect(await journal.readRequest(id)).toBeUndefined()
      await journal.beginRequest(record(id), 60)
    }
    expect(await journal.readRequest(rollback)).toMatchObject({ id: rollback })
    expect(new Set(readdirSync(join(folder, 'requests')).map((each) => each.toLowerCase())).size).toBe(3)
  })

  test('on a disk that does not tell a from A, the record of another id is not taken for its own', async () => {
    await journal.beginRequest(record('abc'), 60)
    const text = readFileSync(join(folder, 'requests/abc.json'), 'utf8')
    writeFileSync(join(folder, 'requests/ABC.json'), text)
    await expect(journal.readRequest('ABC')).rejects.toMatchObject({
      code: 'journal-invalid',
      message: expect.stringContaining('"abc"'),
    })
  })

  test('no id leaves the folder, and no two have one file', () => {
    const paths = statePaths('/state')
    const id = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.constantFrom(...badNames),
      fc.uuid(),
    )
    fc.assert(
      fc.property(id, id, (one, other) => {
        const file = paths.request(one)
        expect(relative('/state', file)).toMatch(/^requests\/[\w-]{1,105}\.json$/)
        if (one !== other) expect(paths.request(other)).not.toBe(file)
      }),
      { numRuns: 2000 },
    )
  })

  test('an id that is a property of every object is stale like any other', async () => {
    const of = (request: string, run: string) => ({ request, run, cluster: 'c', tailnet: 't' })
    await journal.beginRequest({ ...record('constructor'), run: 'first' }, 60)
    await journal.endRequest('constructor', 'first', { state: 'failed' })
    const asked = Date.now()
    while (Date.now() === asked) await new Promise((resolve) => setImmediate(resolve))
    const { attempt } = await journal.begin('redis', of('newer', 'newer'))
    await journal.end('redis', attempt, { state: 'moved' })
    await journal.beginRequest({ ...record('constructor'), run: 'rerun' }, 60)
    await expect(journal.begin('redis', of('constructor', 'rerun'))).rejects.toMatchObject({
      code: 'request-stale',
    })
  })

  test('a code of one action is found by itself alone', async () => {
    const code = await journal.issueCode('force the rollback of redis')
    for (const tried of [`./${code}`, `../codes/${code}`, `${code}\0`, `${code}.json`, ''])
      expect(await journal.redeemCode(tried, 'force the rollback of redis')).toBe(false)
    expect(await journal.redeemCode(code, 'force the rollback of redis')).toBe(true)
  })
})

describe('the state folder', () => {
  test.each(badNames.filter((name) => !isFileName(name)))('%j is no part of a path in it', (part) => {
    expect(() => statePath(folder, part)).toThrow('cannot name a file in the state folder')
    expect(() => statePath(folder, 'services', part)).toThrow('cannot name a file')
  })

  test('what lies there under another name is not read', async () => {
    for (const file of ['redis copy.json', '.redis.json', 'redis.json.bak', 'redis (1).json'])
      writeFileSync(join(folder, 'services', file), 'no journal')
    expect(await journal.list()).toEqual([])
  })

  test('an entry that names another service is refused, and the file is named', async () => {
    await journal.begin('redis', { request: 'r', run: 'r', cluster: 'c', tailnet: 't' })
    const file = join(folder, 'services/redis.json')
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('"service": "redis"', '"service": "qdrant"'))
    await expect(journal.read('redis')).rejects.toMatchObject({ code: 'journal-invalid' })
    writeFileSync(file, text.replace('"service": "redis"', '"service": "../../outside/secret"'))
    await expect(journal.list()).rejects.toMatchObject({
      code: 'journal-invalid',
      message: expect.stringContaining(file),
    })
    expect(existsSync(join(around, 'outside/secret.json.lock'))).toBe(false)
  })
})
