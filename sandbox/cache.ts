import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** Where built servers, the run folder and Go's own caches live. */
export const cacheFolder =
  process.env.ONEHOP_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'onehop')

export const binFolder = join(cacheFolder, 'bin')
export const debianFolder = join(cacheFolder, 'debian')

/**
 * The worlds that may live on one machine at a time: each has a lock, a cgroup and a run folder of its own, with this
 * ending. Everything runs in the one without a name; only the tests use the other as well.
 */
export const worlds = ['', '-second'] as const
export type World = (typeof worlds)[number]
export const world: World = worlds.find((ending) => ending === process.env.ONEHOP_WORLD) ?? ''

/** The folder of this world: servers' data, logs and the homes of panda and clanker-001. */
export const runFolder = join(cacheFolder, `run${world}`)

/** Full path of a program: built by us, fetched from Debian, or the machine's own. */
export function findProgram(name: string): string {
  const found = programFolders()
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
  if (!found)
    throw new Error(`${name} is neither in ${cacheFolder} nor on PATH: run sandbox/prepare.ts first`)
  return found
}

/** PATH for everything in the sandbox. */
export const programFolders = () => [
  binFolder,
  ...['usr/bin', 'usr/sbin', 'bin', 'sbin'].map((folder) => join(debianFolder, folder)),
  dirname(process.execPath),
  ...(process.env.PATH ?? '').split(':'),
  '/usr/sbin',
  '/sbin',
]

/** Debian's shared libraries lie in the cache, not where the loader looks. */
export const libraryFolders = () =>
  ['x86_64-linux-gnu', 'aarch64-linux-gnu']
    .map((triple) => join(debianFolder, 'usr/lib', triple))
    .filter(existsSync)

/** The folder of the CNI plugins (bridge, host-local, loopback). */
export const cniFolder = () =>
  ['/usr/lib/cni', '/opt/cni/bin', join(debianFolder, 'usr/lib/cni')].find((folder) =>
    existsSync(join(folder, 'bridge')),
  ) ?? join(debianFolder, 'usr/lib/cni')
