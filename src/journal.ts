import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { lock } from 'proper-lockfile'
import { z } from 'zod'
import { type Failure, messageOf, OnehopError } from './errors.ts'

/**
 * The journal: what was there before each change and what we left, one JSON file per service, and the outcome of each
 * request. It alone decides what is undone: the engine forgets runs when it restarts and runs no catch block on cancel.
 *
 * Each attempt at a service takes the next number. `guarded` reads it again, under the service's lock, in the same
 * breath as the write that it protects: a cancelled step that runs on, or a stale rerun, changes nothing.
 *
 * @throws OnehopError journal-unwritable at once, if `folder` cannot be made
 */
export function createJournal(folder: string) {
  const services = join(folder, 'services')
  const requests = join(folder, 'requests')
  try {
    mkdirSync(services, { recursive: true, mode: 0o700 })
    mkdirSync(requests, { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw new OnehopError('journal-unwritable', { folder, message: messageOf(thrown) }, { cause: thrown })
  }
  const fileOf = (service: string) => join(services, `${service}.json`)
  const read = (service: string) => readEntry(fileOf(service))
  const save = async (entry: Entry) => {
    await replaceFile(fileOf(entry.service), { ...entry, updatedAt: new Date().toISOString() })
    return entry
  }

  return {
    folder,
    read,

    /** All entries, by service name. */
    async list(): Promise<Entry[]> {
      const files = (await readdir(services)).filter((file) => file.endsWith('.json')).sort()
      const entries = await Promise.all(files.map((file) => readEntry(join(services, file))))
      return entries.filter((entry) => entry !== undefined)
    },

    /**
     * Starts an attempt at moving a service, or gives back the one that this run has already started.
     * The records of a service that is already moved are kept: its undo still leads back to the very beginning.
     *
     * @throws OnehopError request-in-progress, request-stale, rollback-pending, cluster-changed
     */
    begin(service: string, start: Start): Promise<Entry> {
      return locked(fileOf(service), async () => {
        const entry = await read(service)
        if (!entry)
          return save({
            version: 1,
            service,
            attempt: 1,
            state: 'exposing',
            changes: [],
            ended: {},
            ...start,
          })
        const { cluster, state, attempt } = entry
        if (cluster !== start.cluster && state !== 'restored')
          throw new OnehopError('cluster-changed', { service, expected: cluster, found: start.cluster })
        if (state === 'exposing') {
          if (entry.run === start.run) return entry
          throw new OnehopError('request-in-progress', { service, request: entry.request, attempt })
        }
        if (state === 'rolling-back' || state === 'rollback-incomplete')
          throw new OnehopError('rollback-pending', { service, state })
        refuseStale(entry, start.request)
        const changes = state === 'moved' ? entry.changes : []
        const { failure: _, ...rest } = entry
        return save({ ...rest, ...start, attempt: attempt + 1, state: 'exposing', changes })
      })
    },

    /**
     * Starts a rollback: takes the next attempt, so that whatever still runs for the earlier one changes nothing more.
     * `undefined` if there is nothing left to undo. A rollback that died is taken up again.
     *
     * @throws OnehopError nothing-to-undo (the service was never touched), request-stale
     */
    beginRollback(service: string, { request, run, attempt, failure }: RollbackStart) {
      return locked(fileOf(service), async (): Promise<Entry | undefined> => {
        const entry = await read(service)
        if (!entry) throw new OnehopError('nothing-to-undo', { service, state: 'never touched' })
        if (entry.state === 'restored') return undefined
        if (entry.state === 'rolling-back' && entry.run === run) return entry
        // A rollback that was asked for an attempt is for that one alone: a later, good move is not its to take back.
        if (
          attempt !== undefined &&
          entry.request !== request &&
          (entry.attempt !== attempt || entry.state !== 'exposing')
        )
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry.attempt })
        refuseStale(entry, request)
        const ended =
          entry.state === 'exposing'
            ? { ...entry.ended, [entry.request]: { state: entry.state, at: new Date().toISOString() } }
            : entry.ended
        return save({
          ...entry,
          ended, request, run, attempt: entry.attempt + 1, state: 'rolling-back',
          ...(failure && { failure }),
        }) // biome-ignore format: one record
      })
    },

    /** Runs `work` under the service's lock, if `attempt` is still the current one. Saves what `work` returns, if anything. */
    guarded<T>(
      service: string,
      attempt: number,
      work: (entry: Entry, save: (entry: Entry) => Promise<Entry>) => Promise<T>,
    ): Promise<T> {
      return locked(fileOf(service), async () => {
        const entry = await read(service)
        // One that has ended is superseded as well: a rerun from a middle step finds it so.
        const live = entry?.state === 'exposing' || entry?.state === 'rolling-back'
        if (entry?.attempt !== attempt || !live)
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        return work(entry, save)
      })
    },

    /** Writes down what was there before a change and what it should become, before the change. The first record stays. */
    record(service: string, attempt: number, change: ChangeRecord): Promise<ChangeRecord> {
      return this.guarded(service, attempt, async (entry, save) => {
        const earlier = entry.changes.find((each) => each.id === change.id && !each.undone)
        if (earlier) return earlier
        await save({ ...entry, changes: [...entry.changes.filter((each) => each.id !== change.id), change] })
        return change
      })
    },

    /** Notes how long the new path took to answer, in milliseconds. */
    noteProbe(service: string, attempt: number, ms: number): Promise<Entry> {
      return this.guarded(service, attempt, (entry, save) =>
        save({ ...entry, probe: { ms, at: new Date().toISOString() } }),
      )
    },

    /** Ends the attempt's request with a state. */
    end(
      service: string,
      attempt: number,
      { state, failure }: { state: State; failure?: Failure | undefined },
    ): Promise<Entry> {
      return locked(fileOf(service), async () => {
        const entry = await read(service)
        if (entry?.attempt !== attempt)
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        if (entry.state === state) return entry
        const ended = { ...entry.ended, [entry.request]: { state, at: new Date().toISOString() } }
        return save({ ...entry, state, ended, ...(failure && { failure }) })
      })
    },

    /** The outcome of a request by its event id, if one was saved. */
    async readRequest(id: string): Promise<RequestRecord | undefined> {
      const text = await readIfThere(join(requests, `${safe(id)}.json`))
      return text === undefined ? undefined : (JSON.parse(text) as RequestRecord)
    },
    async saveRequest(record: RequestRecord): Promise<RequestRecord> {
      await replaceFile(join(requests, `${safe(record.id)}.json`), record)
      return record
    },
  }
}

export type Journal = ReturnType<typeof createJournal>

const states = ['exposing', 'moved', 'rolling-back', 'restored', 'rollback-incomplete'] as const
export type State = (typeof states)[number]

const changeSchema = z.object({
  id: z.enum(['expose', 'switch']),
  before: z.unknown(),
  target: z.unknown(),
  /** The UID of the object that was changed: another one of the same name is not ours to undo. */
  uid: z.string().optional(),
  undone: z.boolean(),
})
export type ChangeRecord = z.infer<typeof changeSchema>

const entrySchema = z.object({
  version: z.literal(1),
  service: z.string(),
  attempt: z.int(),
  state: z.enum(states),
  request: z.string(),
  run: z.string(),
  cluster: z.string(),
  tailnet: z.string(),
  changes: z.array(changeSchema),
  /** What has ended for this service, by request: a rerun of an older one is stale. */
  ended: z.record(z.string(), z.object({ state: z.enum(states), at: z.string() })),
  failure: z.unknown().optional(),
  /** The last proof of the new path, for whoever watches. */
  probe: z.object({ ms: z.number(), at: z.string() }).optional(),
  updatedAt: z.string().optional(),
})
export type Entry = Omit<z.infer<typeof entrySchema>, 'failure'> & { failure?: Failure }
type RollbackStart = {
  request: string
  run: string
  attempt?: number | undefined
  failure?: Failure | undefined
}
type Start = Pick<Entry, 'request' | 'run' | 'cluster' | 'tailnet'>

/** What became of a request: kept by its event id, so that a rerun of a finished one changes nothing. */
export type RequestRecord = {
  id: string
  event: string
  run: string
  state: 'running' | 'completed' | 'failed' | 'refused'
  phase?: string
  result?: unknown
  failure?: Failure
}

function refuseStale(entry: Entry, request: string) {
  const mine = entry.ended[request]
  if (!mine) return
  // A request's own rollback is named after it, and does not make it stale: what failed may be tried again.
  const others = Object.entries(entry.ended).filter(([id]) => id !== request && !id.startsWith(`${request}/`))
  const newer = others.find(([, each]) => each.at > mine.at)
  if (newer) throw new OnehopError('request-stale', { service: entry.service, request, newer: newer[0] })
}

async function readEntry(file: string): Promise<Entry | undefined> {
  const text = await readIfThere(file)
  if (text === undefined) return undefined
  try {
    return entrySchema.parse(JSON.parse(text)) as Entry
  } catch (thrown) {
    throw new OnehopError(
      'journal-invalid',
      { file, message: messageOf(thrown).split('\n')[0] ?? '' },
      { cause: thrown },
    )
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return undefined
    throw new OnehopError('journal-invalid', { file, message: thrown.message }, { cause: thrown })
  })
}

/** A request id is an event id: anything may be in it, also a path. */
const safe = (id: string) => (/^[\w-]{1,100}$/.test(id) ? id : createHash('sha256').update(id).digest('hex'))

/** Write-temp, fsync, rename, fsync of the folder: without the last one a power cut can bring the old file back. */
async function replaceFile(file: string, value: unknown): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(`${JSON.stringify(value, null, 2)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
    const folder = await open(dirname(file), 'r')
    await folder.sync().finally(() => folder.close())
  } catch (thrown) {
    await rm(temporary, { force: true })
    throw new OnehopError(
      'journal-unwritable',
      { folder: dirname(file), message: messageOf(thrown) },
      { cause: thrown },
    )
  }
}

/** A lock that was lost (the machine slept through its renewal) is no reason to end the worker; the next write says so. */
async function locked<T>(file: string, work: () => Promise<T>): Promise<T> {
  let lost: Error | undefined
  const release = await lock(file, {
    realpath: false,
    stale: 10_000,
    retries: { retries: 200, minTimeout: 50, maxTimeout: 500 },
    onCompromised: (error) => {
      lost = error
    },
  })
  const result = await work().finally(() => (lost ? undefined : release()))
  if (lost)
    throw new OnehopError(
      'journal-unwritable',
      { folder: dirname(file), message: lost.message },
      { cause: lost },
    )
  return result
}
