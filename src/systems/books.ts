import { type Disk, realDisk, replaceFile } from '../disk.ts'
import { OnehopError } from '../errors.ts'
import { isMadeByUs } from '../plan/books.ts'

/** A text file of the user's that we keep a block in; one that is not there is made. Its mode, owner and symlink stay. */
export const createBooks = (disk: Disk = realDisk) => ({
  /** Its text; empty where there is none. @throws OnehopError books-unreadable */
  read: async (file: string): Promise<string> => (await readText(disk, file, file)) ?? '',

  /** A file that was made for our block goes with it, if nothing else stands in it. @throws OnehopError books-unreadable */
  async edit(file: string, change: (text: string, isThere: boolean) => string): Promise<void> {
    const path = await disk.realpath(file).catch(() => file)
    const found = await readText(disk, path, file)
    const before = found ?? ''
    const after = change(before, found !== undefined)
    if (after === before) return
    if (after === '' && isMadeByUs(before)) return disk.rm(path, { force: true })
    const facts = await disk.stat(path).catch(missing)
    const mode = (facts?.mode ?? 0o644) & 0o7777
    await replaceFile(disk, { path, mode, ...(facts && { owner: facts }) }, after)
  },
})

/** Its exact text: bytes that are not UTF-8 would be lost by writing it back. */
async function readText(disk: Disk, path: string, file: string): Promise<string | undefined> {
  const bytes = await disk.readFile(path).catch(missing)
  const text = bytes?.toString('utf8')
  if (bytes && text !== undefined && !Buffer.from(text).equals(bytes))
    throw new OnehopError('books-unreadable', { file })
  return text
}

function missing(thrown: NodeJS.ErrnoException): undefined {
  if (thrown.code !== 'ENOENT') throw thrown
}
