import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Disk, makeFolder, replaceFile } from '../../src/disk.ts'

/** What the journal and the Caddyfile need of a disk. `make` gives an empty folder on it. */
export function diskContract(make: () => Promise<{ disk: Disk; folder: string } & AsyncDisposable>): void {
  const errorOf = (code: string) => expect.objectContaining({ code })
  const staleAfter = { realpath: false, stale: 10_000 }

  test('a file is replaced as a whole, with its mode, and no draft stays', async () => {
    await using made = await make()
    const { disk, folder } = made
    const path = join(folder, 'entry.json')
    await replaceFile(disk, { path, mode: 0o640 }, 'first')
    await replaceFile(disk, { path, mode: 0o600 }, 'größer 🦊')
    expect((await disk.readFile(path)).toString('utf8')).toBe('größer 🦊')
    expect((await disk.stat(path)).mode & 0o777).toBe(0o600)
    expect(await disk.readdir(folder)).toEqual(['entry.json'])
    expect(await disk.realpath(path)).toBe(path)
  })

  test('what is not there is ENOENT, and removing it by force is no error', async () => {
    await using made = await make()
    const { disk, folder } = made
    const path = join(folder, 'nothing')
    await expect(disk.readFile(path)).rejects.toEqual(errorOf('ENOENT'))
    await expect(disk.open(path, 'r')).rejects.toEqual(errorOf('ENOENT'))
    await expect(disk.rename(path, join(folder, 'other'))).rejects.toEqual(errorOf('ENOENT'))
    await expect(disk.open(join(folder, 'no/folder'), 'wx', 0o600)).rejects.toEqual(errorOf('ENOENT'))
    await disk.rm(path, { force: true })
  })

  test('a file that is to be new is EEXIST when it is there', async () => {
    await using made = await make()
    const { disk, folder } = made
    await disk.writeFile(join(folder, 'there'), 'x', { mode: 0o600 })
    await expect(disk.open(join(folder, 'there'), 'wx', 0o600)).rejects.toEqual(errorOf('EEXIST'))
  })

  test('folders are made with their parents, and the first one that was new is named', async () => {
    await using made = await make()
    const { disk, folder } = made
    await makeFolder(disk, join(folder, 'a/b/c'))
    expect(await disk.readdir(join(folder, 'a/b'))).toEqual(['c'])
    const options = { recursive: true, mode: 0o700 } as const
    expect(await disk.mkdir(join(folder, 'a/b/c'), options)).toBeUndefined()
    expect(await disk.mkdir(join(folder, 'a/x/y'), options)).toBe(join(folder, 'a/x'))
  })

  test('a lock is held by one at a time, also for a file that is not there yet', async () => {
    await using made = await make()
    const { disk, folder } = made
    const path = join(folder, 'entry.json')
    const release = await disk.lock(path, staleAfter)
    await expect(disk.lock(path, staleAfter)).rejects.toEqual(errorOf('ELOCKED'))
    await release()
    await (await disk.lock(path, staleAfter))()
  })

  test('who may wait for a lock gets it when it is free', async () => {
    await using made = await make()
    const { disk, folder } = made
    const path = join(folder, 'entry.json')
    const release = await disk.lock(path, staleAfter)
    const waiting = disk.lock(path, {
      ...staleAfter,
      retries: { retries: 50, minTimeout: 10, maxTimeout: 20 },
    })
    await release()
    await (await waiting)()
  })
}
