import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Written beside the real file and renamed over it, so that a crash leaves the old or the new bytes and a symlink stays one. */
export async function replaceFile(
  { path, mode, uid, gid }: { path: string; mode: number; uid: number; gid: number },
  text: string,
): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.onehop-new`)
  try {
    await withHandle(draft, 'w', async (handle) => {
      await handle.writeFile(text)
      const made = await handle.stat()
      if (made.uid !== uid || made.gid !== gid) await handle.chown(uid, gid)
      await handle.chmod(mode)
      await handle.sync()
    })
    await rename(draft, path)
  } finally {
    await rm(draft, { force: true })
  }
  await withHandle(dirname(path), 'r', (folder) => folder.sync())
}

async function withHandle(
  path: string,
  flags: string,
  work: (handle: Awaited<ReturnType<typeof open>>) => Promise<void>,
) {
  const handle = await open(path, flags, 0o600)
  await work(handle).finally(() => handle.close())
}
