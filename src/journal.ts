import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { type Disk, makeFolder, realDisk } from './disk.ts'
import { type Failure, messageOf, OnehopError } from './errors.ts'
import {
  type ChangeRecord,
  type CheckIn,
  codeSchema,
  type EndState,
  type Entry,
  entrySchema,
  isLive,
  isOver,
  type Narrowing,
  narrowingSchema,
  type RequestRecord,
  type RollbackStart,
  requestSchema,
  runsOf,
  type Start,
  type State,
  type UsageSample,
  usageSchema,
} from './journal-records.ts'
import { locked, readAll, readRecord, take, unwritable, write } from './record-files.ts'
import { statePaths } from './state-paths.ts'

/**
 * The journal: what was there before each change and what we left, one JSON file per service, and the outcome of each
 * request. It alone decides what is undone: the engine forgets runs when it restarts and runs no catch block on cancel.
 *
 * Each attempt at a service takes the next number. `guarded` reads it again, under the service's lock, in the same
 * breath as the write that it protects: a cancelled step that runs on, or a stale rerun, changes nothing.
 *
 * @throws OnehopError journal-unwritable at once, if `folder` cannot be made; all functions: journal-invalid,
 *   journal-newer, journal-unwritable, journal-locked
 */
export async function openJournal(folder: string, disk: Disk = realDisk) {
  const paths = statePaths(folder)
  for (const each of paths.folders)
    await makeFolder(disk, each).catch((thrown: unknown) => {
      throw new OnehopError('journal-unwritable', { folder, message: messageOf(thrown) }, { cause: thrown })
    })
  const narrowingFile = paths.document('policy')
  const read = async (service: string) => {
    const file = paths.service(service)
    const entry = (await readRecord(disk, file, entrySchema)) as Entry | undefined
    if (entry && entry.service !== service) throw foreignRecord(file, entry.service)
    return entry
  }
  // A disk that does not tell a from A gives two ids one file.
  const readRequest = async (id: string) => {
    const file = paths.request(id)
    const record = (await readRecord(disk, file, requestSchema)) as RequestRecord | undefined
    if (record && record.id !== id) throw foreignRecord(file, record.id)
    return record
  }
  // Under a lock that was lost (the machine slept) somebody else may have gone on: an older attempt never takes its place.
  const save = async (entry: Entry) => {
    const { service, attempt } = entry
    const file = paths.service(service)
    const stands = async () => ((await read(service))?.attempt ?? 0) <= attempt
    if (!(await write(disk, file, { ...entry, updatedAt: now() }, stands)))
      throw new OnehopError('attempt-superseded', { service, attempt, current: 'a later one' })
    return entry
  }
  const saveRequest = async (record: RequestRecord): Promise<void> => {
    await write(disk, paths.request(record.id), { ...record, updatedAt: now() })
  }
  const withEntry = async <T>(service: string, work: (entry: Entry | undefined) => Promise<T>) =>
    locked(disk, paths.service(service), async () => work(await read(service)))
  const withRequest = <T>(id: string, work: (record: RequestRecord | undefined) => Promise<T>) =>
    locked(disk, paths.request(id), async () => work(await readRequest(id)))

  return {
    folder,
    read,
    readRequest,

    /** All entries, by service name. */
    list: () => readAll(disk, paths.services, entrySchema) as Promise<Entry[]>,
    /** The services that there is something to undo of. */
    async touched(): Promise<string[]> {
      return (await this.list()).filter((each) => each.state !== 'restored').map((each) => each.service)
    },
    /** All requests that the journal knows, in no order. */
    listRequests: () => readAll(disk, paths.requests, requestSchema) as Promise<RequestRecord[]>,

    /**
     * Starts an attempt at moving a service, or gives back the one that this run has already started. A request that is
     * run again (its first run was lost) takes over with the next number. The records of a service that is already moved
     * are kept: its undo still leads back to the very beginning.
     *
     * @throws OnehopError request-in-progress, request-stale, rollback-pending, cluster-changed
     */
    begin(service: string, start: Start): Promise<Entry> {
      return withEntry(service, async (entry) => {
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
          // One whose request is over, with its run lost or cancelled, is nobody's: its number is left behind.
          const holder = entry.request === start.request ? undefined : await readRequest(entry.request)
          if (holder && !isOver(holder))
            throw new OnehopError('request-in-progress', { service, request: entry.request, attempt })
        }
        if (state === 'rolling-back' || state === 'rollback-incomplete')
          throw new OnehopError('rollback-pending', { service, state })
        if (state === 'retiring' || state === 'retired')
          throw new OnehopError('already-retired', { service, state })
        await refuseStale(entry, start.request, readRequest)
        const changes = state === 'restored' ? [] : entry.changes
        // Proofs, failure and recovery are an attempt's own; what has ended is the service's.
        const { ended } = entry
        const next = { attempt: attempt + 1, state: 'exposing' as const }
        const standing = state === 'moved' && !entry.fellBack && { standing: changes.length }
        return save({ version: 1, service, ...next, ...start, changes, ended, ...standing })
      })
    },

    /**
     * Starts the retirement of a moved service's old path, or gives back the attempt that this run has already started.
     *
     * @throws OnehopError not-moved, request-stale
     */
    beginRetire(service: string, { request, run }: Pick<Start, 'request' | 'run'>): Promise<Entry> {
      return withEntry(service, async (entry) => {
        if (entry?.state === 'retiring' && entry.run === run) return entry
        if (entry?.state !== 'moved' || entry.fellBack)
          throw new OnehopError('not-moved', {
            service,
            state: entry?.fellBack ? 'moved, fell back' : (entry?.state ?? 'planned'),
          })
        await refuseStale(entry, request, readRequest)
        const { failure: _, recovery: __, ...rest } = entry
        return save({ ...rest, request, run, attempt: entry.attempt + 1, state: 'retiring' })
      })
    },

    /**
     * Starts a rollback: takes the next attempt, so that whatever still runs for the earlier one changes nothing more.
     * `undefined` if there is nothing left to undo. A rollback that died is taken up again.
     *
     * @throws OnehopError nothing-to-undo (the service was never touched), attempt-superseded, request-stale, not-moved
     */
    beginRollback(service: string, { request, run, attempt, failure, to }: RollbackStart) {
      return withEntry(service, async (entry): Promise<Entry | undefined> => {
        if (!entry) throw new OnehopError('nothing-to-undo', { service, state: 'planned' })
        if (entry.state === 'restored') return undefined
        if (entry.state === 'rolling-back' && entry.run === run) return entry
        // A rollback that was asked for an attempt is for that one alone: a later, good move is not its to take back.
        if (
          attempt !== undefined &&
          entry.request !== request &&
          (entry.attempt !== attempt || !(isLive(entry) || entry.state === 'moved'))
        )
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry.attempt })
        await refuseStale(entry, request, readRequest)
        // What was never moved, or is on its way back from there, cannot be moved by taking a retirement back.
        const isRetirement = entry.to === 'moved' || /^(moved|retiring|retired)$/.test(entry.state)
        if (to && !isRetirement) throw new OnehopError('not-moved', { service, state: entry.state })
        const ended =
          isLive(entry) && entry.state !== 'rolling-back'
            ? { ...entry.ended, [entry.request]: endOf(entry, entry.state) }
            : entry.ended
        const { recovery: _, to: __, standing: ___, ...rest } = entry
        return save({
          ...rest,
          ended, request, run, attempt: entry.attempt + 1, state: 'rolling-back',
          ...(to && { to }), ...(failure && { failure }),
        }) // biome-ignore format: one record
      })
    },

    /** Runs `work` under the service's lock, if `attempt` is still the current one. Saves what `work` saves, if anything. */
    guarded<T>(
      service: string,
      attempt: number,
      work: (entry: Entry, save: (entry: Entry) => Promise<Entry>) => Promise<T>,
    ): Promise<T> {
      return withEntry(service, async (entry) => {
        // One that has ended is superseded as well: a rerun from a middle step finds it so.
        if (entry?.attempt !== attempt || !isLive(entry))
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        return work(entry, save)
      })
    },

    /** @throws OnehopError attempt-superseded, if the attempt is not the current one or has ended */
    async expectCurrent(service: string, attempt: number): Promise<void> {
      const entry = await read(service)
      if (entry?.attempt !== attempt || !isLive(entry))
        throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
    },

    /** Writes down what was there before a change and what it should become, before the change. The first record stays. */
    record(service: string, attempt: number, change: ChangeRecord): Promise<ChangeRecord> {
      return this.guarded(service, attempt, async (entry, save) => {
        const earlier = entry.changes.find((each) => each.id === change.id && !each.undone)
        if (earlier) return earlier
        const changes = [...entry.changes.filter((each) => each.id !== change.id), change]
        await save({ ...withoutStanding(entry), changes })
        return change
      })
    },

    /** Adds to the target of a standing record what is written beside it, before it is; `undefined`: there is nothing to add. */
    extend(
      service: string,
      attempt: number,
      id: ChangeRecord['id'],
      add: (target: unknown) => unknown,
    ): Promise<void> {
      return this.guarded(service, attempt, async (entry, save) => {
        const earlier = entry.changes.find((each) => each.id === id && !each.undone)
        const target = earlier && add(earlier.target)
        if (target === undefined) return
        const changes = entry.changes.map((each) => (each === earlier ? { ...each, target } : each))
        await save({ ...withoutStanding(entry), changes })
      })
    },

    /** Ends an attempt at a service that was moved already and that it has not changed: it stays so. Whether it was like that. */
    stay(service: string, attempt: number): Promise<boolean> {
      return withEntry(service, async (entry) => {
        if (entry?.attempt !== attempt || entry.state !== 'exposing' || entry.standing === undefined)
          return false
        const ended = { ...entry.ended, [entry.request]: endOf(entry, 'moved') }
        await save({ ...withoutStanding(entry), state: 'moved', ended })
        return true
      })
    },

    /** Writes down that changes were taken back. */
    recordUndone(service: string, attempt: number, ids: ChangeRecord['id'][]): Promise<Entry> {
      return this.guarded(service, attempt, (entry, save) => {
        const changes = entry.changes.map((each) =>
          ids.includes(each.id) ? { ...each, undone: true } : each,
        )
        return save({ ...entry, changes })
      })
    },

    /** Notes how long the new path took to answer, in milliseconds. */
    noteProbe(service: string, attempt: number, ms: number): Promise<Entry> {
      return this.guarded(service, attempt, (entry, save) => save({ ...entry, probe: { ms, at: now() } }))
    },

    /** Takes back the switch of a moved service, by `undo`, and says so; it stays moved. @throws OnehopError attempt-superseded */
    fallBack(
      service: string,
      attempt: number,
      failure: Failure,
      undo: (change: ChangeRecord) => Promise<void>,
    ): Promise<Entry> {
      return withEntry(service, async (entry) => {
        if (entry?.attempt !== attempt || entry.state !== 'moved')
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        const change = entry.changes.find((each) => each.id === 'switch' && !each.undone)
        if (change) await undo(change)
        return save({ ...entry, fellBack: { at: now(), why: failure.message }, failure })
      })
    },

    /** Ends the attempt's request with a state. */
    end(
      service: string,
      attempt: number,
      { state, failure }: { state: State; failure?: Failure | undefined },
    ): Promise<Entry> {
      return withEntry(service, async (entry) => {
        if (entry?.attempt !== attempt || (!isLive(entry) && entry.state !== state))
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        if (entry.state === state) return entry
        const ended = { ...entry.ended, [entry.request]: endOf(entry, state) }
        const { to, fellBack, ...rest } = withoutStanding(entry)
        // An incomplete one is gone on with from where it stopped.
        const kept = to && state === 'rollback-incomplete' && { to }
        const silent = fellBack && state !== 'restored' && { fellBack }
        return save({ ...rest, ...kept, ...silent, state, ended, ...(failure && { failure }) })
      })
    },

    /**
     * Claims the recovery of an attempt that nobody carries on: how often it was claimed, or `undefined` if somebody did
     * so less than `seconds` ago or the attempt is over.
     */
    claimRecovery(service: string, attempt: number, seconds: number): Promise<number | undefined> {
      return withEntry(service, async (entry) => {
        if (entry?.attempt !== attempt || !isLive(entry)) return undefined
        const { count = 0, at } = entry.recovery ?? {}
        if (at !== undefined && Date.parse(at) + seconds * 1000 > Date.now()) return undefined
        await save({ ...entry, recovery: { count: count + 1, at: now() } })
        return count + 1
      })
    },

    /**
     * Takes a request up. One that has completed gives its record back, and nothing may be done for it again.
     *
     * @throws OnehopError request-in-progress, while another run of it lives
     */
    beginRequest(
      { id, event, data, run }: Pick<RequestRecord, 'id' | 'event' | 'data' | 'run'>,
      seconds: number,
    ): Promise<RequestRecord | undefined> {
      return withRequest(id, async (earlier) => {
        if (earlier?.state === 'completed') return earlier
        if (earlier && earlier.run !== run && !isOver(earlier))
          throw new OnehopError('request-in-progress', {
            service: earlier.event,
            request: id,
            attempt: earlier.phase ?? 'begun',
          })
        const startedAt = earlier?.run === run ? earlier.startedAt : now()
        const askedAt = earlier?.askedAt ?? earlier?.startedAt ?? startedAt
        await saveRequest({
          version: 1,
          id,
          event,
          data,
          run,
          state: 'running',
          askedAt,
          startedAt,
          deadline: inSeconds(seconds),
          ...(earlier?.run === run && earlier.abort && { abort: earlier.abort }),
          runs: earlier ? runsOf(earlier) : [],
        })
        return undefined
      })
    },

    /** Hands a request from one run to the next. @throws OnehopError request-superseded */
    passRequest(id: string, { from, run }: { from: string; run: string }, seconds: number): Promise<void> {
      return withRequest(id, async (record) => {
        if (record?.state !== 'running' || (record.run !== from && record.run !== run))
          throw new OnehopError('request-superseded', { request: id })
        await saveRequest({ ...record, run, deadline: inSeconds(seconds) })
      })
    },

    /**
     * Says that a run lives, and until when it must say so again: `seconds` from now. With `always`, also when the
     * request was aborted.
     *
     * @throws OnehopError request-superseded (given up, or another run has it), request-aborted
     */
    checkIn(id: string, run: string, { phase, seconds, always = false }: CheckIn): Promise<void> {
      return withRequest(id, async (record) => {
        if (record?.state !== 'running' || record.run !== run)
          throw new OnehopError('request-superseded', { request: id })
        if (record.abort && !always) throw new OnehopError('request-aborted', { request: id })
        await saveRequest({ ...record, phase, deadline: inSeconds(seconds) })
      })
    },

    /** Ends a request, if `run` still has it; whether it did. */
    endRequest(
      id: string,
      run: string,
      { state, result, failure }: { state: EndState; result?: unknown; failure?: Failure | undefined },
    ): Promise<boolean> {
      return withRequest(id, async (record) => {
        if (record?.state !== 'running' || record.run !== run) return false
        const took = (Date.now() - Date.parse(record.startedAt)) / 1000
        const runs = [...(record.runs ?? []), { state, seconds: Math.max(0, took) }]
        await saveRequest({ ...record, state, result, runs, ...(failure && { failure }) })
        return true
      })
    },

    /** Writes down a request that was refused before it began. */
    refuseRequest(record: Pick<RequestRecord, 'id' | 'event' | 'data' | 'run' | 'failure'>): Promise<void> {
      return withRequest(record.id, async (earlier) => {
        if (earlier && !isOver(earlier)) return
        const askedAt = earlier?.askedAt ?? earlier?.startedAt ?? now()
        const state = 'refused' as const
        const runs = [...(earlier ? runsOf(earlier) : []), { state, seconds: 0 }]
        const at = { askedAt, startedAt: now(), deadline: now() }
        await saveRequest({ version: 1, ...record, ...at, state, runs })
      })
    },

    /** How a request was asked to stop, if it was; from now on nobody can ask so any more. @throws OnehopError request-superseded */
    closeToAborts(id: string, run: string): Promise<RequestRecord['abort']> {
      return withRequest(id, async (record) => {
        if (record?.state !== 'running' || record.run !== run)
          throw new OnehopError('request-superseded', { request: id })
        await saveRequest({ ...record, closing: true })
        return record.abort
      })
    },

    /** Asks a running request to stop: `rest` keeps what is moved, `all` takes that back too. Whether it could still be asked. */
    abortRequest(id: string, scope: 'rest' | 'all'): Promise<boolean> {
      return withRequest(id, async (record) => {
        if (record?.state !== 'running' || record.closing) return false
        await saveRequest({ ...record, abort: scope })
        return true
      })
    },

    /** Who was seen on a moved service's old path: kept without care, since what is lost only makes the wait longer. */
    async readUsage(service: string): Promise<UsageSample[]> {
      try {
        return z.array(usageSchema).parse(JSON.parse(String(await disk.readFile(paths.usage(service)))))
      } catch {
        return []
      }
    },
    async saveUsage(service: string, samples: UsageSample[]): Promise<void> {
      const file = paths.usage(service)
      await disk.writeFile(file, JSON.stringify(samples), { mode: 0o600 }).catch((thrown: unknown) => {
        throw unwritable(file, thrown)
      })
    },

    /** What was done to the policy's rules from `*` to `*`, if anything was. */
    readNarrowing: () => readRecord(disk, narrowingFile, narrowingSchema) as Promise<Narrowing | undefined>,
    saveNarrowing: (record: Narrowing) => write(disk, narrowingFile, { ...record, updatedAt: now() }),

    /** A code for one forced action within ten minutes: whoever can only reach the engine cannot have it. */
    async issueCode(action: string): Promise<string> {
      const code = randomUUID()
      await write(disk, paths.code(code), { action, until: inSeconds(600) })
      return code
    },
    /** Whether a code was issued for this action and not used yet. It is used up by this. */
    async redeemCode(code: string, action: string): Promise<boolean> {
      const file = paths.code(code)
      const issued = (await readRecord(disk, file, codeSchema)) as z.infer<typeof codeSchema> | undefined
      if (issued) await disk.rm(file, { force: true })
      return issued?.action === action && Date.parse(issued.until) > Date.now()
    },

    /**
     * Writes again what a change of a moved or retired service has left, by `work`, and says so. The records stay: its undo
     * still leads back to the very beginning. `work` may save the entry first.
     *
     * @throws OnehopError attempt-superseded
     */
    repair(
      service: string,
      attempt: number,
      { request, drift }: { request: string; drift: string },
      work: (entry: Entry, save: (entry: Entry) => Promise<Entry>) => Promise<void>,
    ): Promise<Entry> {
      return withEntry(service, async (entry) => {
        if (entry?.attempt !== attempt || (entry.state !== 'moved' && entry.state !== 'retired'))
          throw new OnehopError('attempt-superseded', { service, attempt, current: entry?.attempt ?? 'none' })
        const repairs = [...(entry.repairs ?? []).slice(-19), { at: now(), request, drift }]
        let latest = await save({ ...entry, repairs })
        await work(latest, async (next) => {
          latest = await save(next)
          return latest
        })
        return latest
      })
    },

    /** Another record of the folder: read, or replaced as a whole under its lock. @throws OnehopError journal-* */
    readDocument: async <T>(name: string, schema: z.ZodType<T>) =>
      readRecord(disk, paths.document(name), schema) as Promise<T | undefined>,
    async updateDocument<T>(
      name: string,
      schema: z.ZodType<T>,
      change: (document: T | undefined) => T,
    ): Promise<T> {
      const file = paths.document(name)
      return locked(disk, file, async () => {
        const next = change((await readRecord(disk, file, schema)) as T | undefined)
        await write(disk, file, next)
        return next
      })
    },

    /** Runs `work` while no other process does so under the same name. */
    exclusively: async <T>(name: string, work: () => Promise<T>) => locked(disk, paths.lock(name), work),

    /**
     * Holds a name until it is released or this process dies; `onLost` if another took it (this machine slept).
     *
     * @throws OnehopError journal-locked, with who holds it, after 15 s: as long as a dead one's hold lasts
     */
    hold: async (name: string, onLost: () => void) =>
      take(disk, paths.lock(name), { retries: 60, minTimeout: 250, maxTimeout: 250 }, onLost),
  }
}

export type Journal = Awaited<ReturnType<typeof openJournal>>

const foreignRecord = (file: string, name: string) =>
  new OnehopError('journal-invalid', { file, message: `it holds the record of ${JSON.stringify(name)}` })

const withoutStanding = ({ standing: _, ...entry }: Entry): Entry => entry

/** A rerun is stale once a newer request has ended for the service: since it ended there itself, or since it was asked. */
async function refuseStale(
  entry: Entry,
  request: string,
  readRequest: (id: string) => Promise<RequestRecord | undefined>,
) {
  const record = await readRequest(request)
  const isRerun = record?.askedAt !== undefined && record.askedAt < record.startedAt
  const ended = Object.hasOwn(entry.ended, request) ? entry.ended[request] : undefined
  const mine = ended ?? (isRerun ? { at: record.askedAt ?? '' } : undefined)
  if (!mine) return
  // A request's own rollback is named after it, and does not make it stale: what failed may be tried again.
  const others = Object.entries(entry.ended).filter(([id]) => id !== request && !id.startsWith(`${request}/`))
  const newer = others.find(([, each]) => each.at > mine.at)
  if (newer) throw new OnehopError('request-stale', { service: entry.service, request, newer: newer[0] })
}

/** How an attempt ended; one that stood as an Ingress has asked for a certificate. */
function endOf({ changes }: Entry, state: State): Entry['ended'][string] {
  const exposed = changes.find((each) => each.id === 'expose' && !each.undone)?.target
  const certificate = typeof exposed === 'object' && exposed !== null && 'ingress' in exposed
  return { state, at: now(), ...(certificate && { certificate }) }
}

const now = () => new Date().toISOString()
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString()
