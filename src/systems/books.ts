import { type Disk, realDisk, replaceFile } from '../disk.ts'

/** A text file of the user's that we keep a block in; one that is not there is made. Its mode, owner and symlink stay. */
export const createBooks = (disk: Disk = realDisk) => ({
  /** Its text; empty where there is none. */
  async read(file: string): Promise<string> {
    const bytes = await disk.readFile(file).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code === 'ENOENT') return undefined
      throw thrown
    })
    return bytes?.toString('utf8') ?? ''
  },
  async edit(file: string, change: (text: string) => string): Promise<void> {
    const path = await disk.realpath(file).catch(() => file)
    const missing = (thrown: NodeJS.ErrnoException) => {
      if (thrown.code === 'ENOENT') return undefined
      throw thrown
    }
    const before = await disk.readFile(path).catch(missing)
    const after = change(before?.toString('utf8') ?? '')
    if (after === (before?.toString('utf8') ?? '')) return
    const facts = await disk.stat(path).catch(missing)
    const mode = (facts?.mode ?? 0o644) & 0o7777
    await replaceFile(disk, { path, mode, ...(facts && { owner: facts }) }, after)
  },
})
