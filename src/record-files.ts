import { dirname } from 'node:path'
import pRetry from 'p-retry'
import type { z } from 'zod'
import { type Disk, replaceFile } from './disk.ts'
import { messageOf, OnehopError } from './errors.ts'
import { NoAnswer } from './in-time.ts'
import { isFileName, type StatePath, statePath } from './state-paths.ts'

// A record is a JSON file with a version, replaced as a whole; one writer at a time, also across processes.

export async function readAll(disk: Disk, folder: StatePath, schema: z.ZodType): Promise<unknown[]> {
  const found = await disk.readdir(folder).catch((thrown: unknown) => {
    throw unwritableFolder(folder, thrown)
  })
  const files = found.filter((file) => isFileName(file) && file.endsWith('.json')).sort()
  const records = await Promise.all(files.map((file) => readRecord(disk, statePath(folder, file), schema)))
  return records.filter((record) => record !== undefined)
}

export async function readRecord(disk: Disk, file: StatePath, schema: z.ZodType): Promise<unknown> {
  const invalid = (thrown: unknown) => {
    const message = messageOf(thrown).split('\n')[0] ?? ''
    return new OnehopError('journal-invalid', { file, message }, { cause: thrown })
  }
  const bytes = await disk.readFile(file).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return undefined
    // It may be a fine journal on a disk that refuses just now: that can be tried again.
    throw unwritable(file, thrown)
  })
  if (bytes === undefined) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    const version = (value as { version?: unknown } | null)?.version
    if (typeof version === 'number' && version > 1) throw new OnehopError('journal-newer', { file, version })
    return schema.parse(value)
  } catch (thrown) {
    throw thrown instanceof OnehopError ? thrown : invalid(thrown)
  }
}

/** @returns whether `still` said yes when it was asked last of all; else nothing was written */
export async function write(
  disk: Disk,
  path: StatePath,
  value: unknown,
  still?: () => Promise<boolean>,
): Promise<boolean> {
  return replaceFile(disk, { path, mode: 0o600 }, `${JSON.stringify(value, null, 2)}\n`, still).catch(
    (thrown: unknown) => {
      throw thrown instanceof OnehopError ? thrown : unwritable(path, thrown)
    },
  )
}

export const unwritable = (path: StatePath, thrown: unknown) => unwritableFolder(dirname(path), thrown)

const unwritableFolder = (folder: string, thrown: unknown) =>
  new OnehopError('journal-unwritable', { folder, message: messageOf(thrown) }, { cause: thrown })

/**
 * One writer at a time, also across processes; who waits too long is told who holds it. A lock that was lost (the machine
 * slept through its renewal) is no reason to end the worker: what it guards is compared and swapped anyway, and of a
 * service's record an older attempt never replaces a newer one.
 */
export async function locked<T>(disk: Disk, path: StatePath, work: () => Promise<T>): Promise<T> {
  let lost = false
  // About 12 s: longer than a lock stays that a killed process has left.
  const retries = { retries: 65, minTimeout: 10, maxTimeout: 200 }
  const release = await take(disk, path, retries, () => {
    lost = true
  })
  try {
    const result = await work()
    if (lost) throw unwritable(path, new Error('the lock was lost'))
    return result
  } finally {
    if (!lost) await release()
  }
}

type Retries = { retries: number; minTimeout: number; maxTimeout: number }

export async function take(disk: Disk, path: StatePath, retries: Retries, onLost: () => void) {
  const holder = `${path}.holder`
  const release = await pRetry(
    () => disk.lock(path, { realpath: false, stale: 10_000, onCompromised: onLost }),
    { ...retries, shouldRetry: ({ error }) => isLocked(error) },
  ).catch(async (thrown: unknown) => {
    if (!isLocked(thrown)) throw unwritable(path, thrown)
    const who = await disk.readFile(holder).catch(() => 'another process')
    const cause = new NoAnswer(0, messageOf(thrown))
    throw new OnehopError('journal-locked', { file: path, holder: String(who) }, { cause })
  })
  const me = `onehop ${process.argv[2] ?? ''} (pid ${process.pid}), since ${new Date().toISOString()}`
  try {
    await disk.writeFile(holder, me, { mode: 0o600 })
  } catch (thrown) {
    await release()
    throw unwritable(path, thrown)
  }
  return async () => {
    // It only names who holds the lock. An error of the disk here must not keep the lock itself for ever.
    await disk.rm(holder, { force: true }).catch(() => undefined)
    await release()
  }
}

const isLocked = (thrown: unknown) => (thrown as NodeJS.ErrnoException | null)?.code === 'ELOCKED'
