import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { cacheFolder, cniFolder, debianFolder } from './cache.ts'
import { debianPackages } from './versions.ts'

/** Programs of Debian's packages that are neither on PATH nor in the cache. */
export function missingFromDebian(): string[] {
  const folders = [
    ...(process.env.PATH ?? '').split(':'),
    ...['/usr/sbin', '/sbin'],
    ...['usr/bin', 'usr/sbin', 'bin', 'sbin'].map((folder) => join(debianFolder, folder)),
  ]
  const programs = ['containerd', 'ctr', 'runc', 'nft', 'busybox', 'redis-server']
  const missing = programs.filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
  return existsSync(join(cniFolder(), 'bridge')) ? missing : [...missing, 'bridge']
}

/**
 * Downloads the packages, and those that they need and this machine lacks, and unpacks them into the cache.
 * apt works on a private copy of its state: nothing is installed, and the machine's own lists stay as they are.
 */
export async function fetchDebian() {
  const state = join(cacheFolder, 'new', 'apt')
  const unpacked = join(cacheFolder, 'new', 'unpacked')
  for (const folder of [state, unpacked]) rmSync(folder, { recursive: true, force: true })
  for (const folder of ['lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(join(state, folder), { recursive: true })
  mkdirSync(unpacked, { recursive: true })
  const settings = [
    ...[
      `Dir::State=${state}`,
      `Dir::State::lists=${state}/lists`,
      `Dir::Cache=${state}/cache`,
      `Dir::Log=${state}`,
    ],
    ...['Dir::State::status=/var/lib/dpkg/status', 'APT::Sandbox::User=root'],
  ].flatMap((setting) => ['-o', setting])
  const apt = (...args: string[]) =>
    execa('apt-get', [...settings, '-q', ...args], { cwd: join(state, 'debs') })

  await apt('update')
  const { stdout } = await apt('install', '--simulate', '--no-install-recommends', ...debianPackages)
  const wanted = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name ?? '')
  await apt('download', ...wanted)
  for (const deb of readdirSync(join(state, 'debs')))
    await execa('dpkg-deb', ['-x', join(state, 'debs', deb), unpacked])
  rmSync(debianFolder, { recursive: true, force: true })
  renameSync(unpacked, debianFolder)
  rmSync(state, { recursive: true })
}
