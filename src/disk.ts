import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type LockOptions, lock } from 'proper-lockfile'
import { NoAnswer } from './in-time.ts'

/**
 * The calls of node:fs/promises that the journal and the Caddyfile are kept with, and the lock between processes. Handed
 * in, so that a test can cut the power: what was not synced then is gone or torn.
 */
export type Disk = {
  readFile(path: string): Promise<Buffer>
  readdir(folder: string): Promise<string[]>
  stat(path: string): Promise<{ mode: number; uid: number; gid: number }>
  realpath(path: string): Promise<string>
  mkdir(folder: string, options: { recursive: true; mode: number }): Promise<string | undefined>
  writeFile(path: string, text: string, options: { mode: number }): Promise<void>
  open(path: string, flags: 'wx' | 'r', mode?: number): Promise<DiskHandle>
  rename(from: string, to: string): Promise<void>
  rm(path: string, options: { force: true }): Promise<void>
  lock(path: string, options: LockOptions): Promise<() => Promise<void>>
}

export type DiskHandle = {
  writeFile(text: string): Promise<void>
  sync(): Promise<void>
  stat(): Promise<{ uid: number; gid: number }>
  chown(uid: number, gid: number): Promise<void>
  chmod(mode: number): Promise<void>
  close(): Promise<void>
}

export const realDisk: Disk = { ...fs, lock, readFile: readInTime }

/**
 * A file's bytes. To open a FIFO that nobody writes to never ends, cannot be given up, and takes one of the four threads that
 * all files are read by: so it is opened without waiting, and asked until its writer has closed it.
 *
 * @throws NoAnswer after 10 s, and what node:fs throws
 */
export async function readInTime(path: string): Promise<Buffer> {
  const facts = await fs.stat(path)
  if (facts.isFile() || facts.isDirectory()) return fs.readFile(path)
  if (!facts.isFIFO()) throw new Error('it is a device or a socket, not a file')
  const handle = await fs.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  try {
    const deadline = 10_000
    const until = Date.now() + deadline
    const chunks: Buffer[] = []
    while (Date.now() < until) {
      const buffer = Buffer.alloc(65_536)
      const { bytesRead } = await handle.read(buffer).catch((thrown: NodeJS.ErrnoException) => {
        if (thrown.code !== 'EAGAIN') throw thrown
        return { bytesRead: undefined }
      })
      if (bytesRead) chunks.push(buffer.subarray(0, bytesRead))
      else if (bytesRead === 0 && chunks.length > 0) return Buffer.concat(chunks)
      // There is no writer yet, or it has written nothing new.
      else await sleep(50)
    }
    throw new NoAnswer(deadline)
  } finally {
    await handle.close()
  }
}

/**
 * Written beside the file, synced, renamed over it, and the folder synced: a crash leaves the old or the new bytes, and a
 * power cut cannot bring the old ones back. (`write-file-atomic` does not sync the folder.)
 *
 * `still` is asked last, with the new bytes already on disk, so that hardly a moment is left in which an edit by somebody
 * else could be overwritten. @returns whether it said yes; else nothing was replaced
 */
export async function replaceFile(
  disk: Disk,
  { path, mode, owner }: { path: string; mode: number; owner?: { uid: number; gid: number } },
  text: string,
  still: () => Promise<boolean> = async () => true,
): Promise<boolean> {
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.onehop-new`)
  try {
    const handle = await disk.open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      const made = await handle.stat()
      if (owner && (made.uid !== owner.uid || made.gid !== owner.gid))
        await handle.chown(owner.uid, owner.gid)
      await handle.chmod(mode)
      await handle.sync()
    } finally {
      await handle.close()
    }
    if (!(await still())) {
      await disk.rm(draft, { force: true })
      return false
    }
    await disk.rename(draft, path)
  } catch (thrown) {
    await disk.rm(draft, { force: true })
    throw thrown
  }
  await syncFolder(disk, dirname(path))
  return true
}

/** Removes the drafts that a killed writer has left beside a file. Only under the file's lock: else one may be somebody's. */
export async function removeDrafts(disk: Disk, path: string): Promise<void> {
  const folder = dirname(path)
  const isDraft = (file: string) => file.startsWith(`.${basename(path)}.`) && file.endsWith('.onehop-new')
  for (const draft of (await disk.readdir(folder)).filter(isDraft))
    await disk.rm(join(folder, draft), { force: true })
}

/**
 * Makes a folder that a power cut cannot take away: each folder that a new one stands in is synced. A folder that is there
 * already may have been made by a process that died before it came to that, so the two above it are synced once by each
 * process all the same.
 */
export async function makeFolder(disk: Disk, folder: string): Promise<void> {
  const known = safeFolders.get(disk) ?? new Set()
  const first = await disk.mkdir(folder, { recursive: true, mode: 0o700 })
  if (first === undefined && known.has(folder)) return
  const top = first !== undefined && first.length < dirname(folder).length ? first : dirname(folder)
  for (let made = folder; made.length >= top.length; made = dirname(made))
    await syncFolder(disk, dirname(made))
  safeFolders.set(disk, known.add(folder))
}

const safeFolders = new WeakMap<Disk, Set<string>>()

async function syncFolder(disk: Disk, folder: string): Promise<void> {
  const handle = await disk.open(folder, 'r')
  await handle.sync().finally(() => handle.close())
}
