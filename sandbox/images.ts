import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, findProgram, libraryFolders } from './cache.ts'
import { versions } from './versions.ts'

type Image = { name: string; entrypoint: string[]; files: Record<string, string> }

/** The images of the sandbox: busybox and the servers, nothing from a registry. */
export const imageNames = {
  base: 'localhost/base:1',
  redis: 'localhost/redis:1',
  inngest: `localhost/inngest:v${versions.inngest}`,
  proxy: `docker.io/tailscale/tailscale:v${versions.tailscale}`,
  operator: `docker.io/tailscale/k8s-operator:v${versions.tailscale}`,
}

/** Packs every image that is not in the cache as it should be. */
export function packImages() {
  for (const image of Object.keys(imageNames)) imageArchive(image as keyof typeof imageNames)
}

/** Path of the archive of an image that `ctr images import` accepts; kept in the cache until a file in it changes. */
export function imageArchive(image: keyof typeof imageNames): string {
  const { name, entrypoint, files } = describe(image)
  const parts = Object.entries(files).map(
    ([path, file]) => `${path}=${file}:${statSync(file).size}:${statSync(file).mtimeMs}`,
  )
  const key = createHash('sha256')
    .update(JSON.stringify([name, entrypoint, parts]))
    .digest('hex')
    .slice(0, 16)
  const folder = join(cacheFolder, 'images')
  const archive = join(folder, `${image}-${key}.tar`)
  if (existsSync(archive)) return archive
  mkdirSync(folder, { recursive: true })
  for (const old of readdirSync(folder).filter((file) => file.startsWith(`${image}-`)))
    rmSync(join(folder, old))
  writeFileSync(`${archive}.${process.pid}`, pack({ name, entrypoint, files }))
  renameSync(`${archive}.${process.pid}`, archive)
  return archive
}

function describe(image: keyof typeof imageNames): Image {
  const bin = (...names: string[]) =>
    Object.fromEntries(names.map((name) => [`usr/local/bin/${name}`, findProgram(name)]))
  const name = imageNames[image]
  const busybox = { 'bin/busybox': findProgram('busybox') }
  switch (image) {
    case 'base':
      return { name, entrypoint: ['/bin/sleep', '1000000000'], files: busybox }
    case 'redis':
      return {
        name,
        entrypoint: ['/usr/local/bin/redis-server'],
        files: { ...busybox, ...withLibraries('redis-server') },
      }
    case 'inngest':
      return { name, entrypoint: ['/usr/local/bin/inngest'], files: { ...busybox, ...bin('inngest') } }
    case 'proxy':
      return {
        name,
        entrypoint: ['/usr/local/bin/containerboot'],
        files: { ...busybox, ...bin('containerboot', 'tailscaled', 'tailscale') },
      }
    case 'operator':
      return {
        name,
        entrypoint: ['/usr/local/bin/operator'],
        files: { ...busybox, 'usr/local/bin/operator': findProgram('k8s-operator') },
      }
  }
}

/** A dynamic program with its shared libraries and its loader, each where the loader looks for it. */
function withLibraries(program: string): Record<string, string> {
  const file = findProgram(program)
  const env = { ...process.env, LD_LIBRARY_PATH: libraryFolders().join(':') }
  const lines = execFileSync('ldd', [file], { encoding: 'utf8', env }).split('\n')
  const paths = lines.map((line) => /(?:=> )?(\/\S+) \(/.exec(line)?.[1]).filter((path) => path !== undefined)
  const place = (path: string) =>
    path.includes('ld-linux') ? path.slice(1) : `lib/${path.split('/').at(-1)}`
  return Object.fromEntries([[`usr/local/bin/${program}`, file], ...paths.map((path) => [place(path), path])])
}

const applets = [
  'sh',
  'sleep',
  'sysctl',
  'cat',
  'ls',
  'mkdir',
  'wget',
  'nc',
  'httpd',
  'cp',
  'date',
  'ip',
  'nslookup',
]

/** A one-layer image as a tar of tars. */
function pack({ name, entrypoint, files }: Image): Buffer {
  const layer = tar([
    ...[
      'bin',
      'sbin',
      'etc',
      'lib',
      'lib64',
      'root',
      'usr',
      'usr/bin',
      'usr/local',
      'usr/local/bin',
      'var',
      'var/run',
    ].map((path) => ({ path, mode: 0o755, type: 'folder' as const })),
    { path: 'tmp', mode: 0o1777, type: 'folder' },
    { path: 'etc/passwd', mode: 0o644, data: Buffer.from('root:x:0:0:root:/root:/bin/sh\n') },
    ...Object.entries(files).map(([path, file]) => ({ path, mode: 0o755, data: readFileSync(file) })),
    ...applets.map((applet) => ({ path: `bin/${applet}`, mode: 0o777, link: '/bin/busybox' })),
    { path: 'sbin/sysctl', mode: 0o777, link: '/bin/busybox' },
  ])
  const digest = createHash('sha256').update(layer).digest('hex')
  const config = JSON.stringify({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: {
      Entrypoint: entrypoint,
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin:/sbin', 'LD_LIBRARY_PATH=/lib'],
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  })
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`
  const manifest = JSON.stringify([{ Config: configName, RepoTags: [name], Layers: [`${digest}/layer.tar`] }])
  return tar([
    { path: configName, mode: 0o644, data: Buffer.from(config) },
    { path: `${digest}/layer.tar`, mode: 0o644, data: layer },
    { path: 'manifest.json', mode: 0o644, data: Buffer.from(manifest) },
  ])
}

type Entry = { path: string; mode: number; data?: Buffer; link?: string; type?: 'folder' }

function tar(entries: Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, mode, data = Buffer.alloc(0), link = '', type }) => {
    const header = Buffer.alloc(512)
    const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`
    header.write(path, 0)
    header.write(octal(mode, 8), 100)
    header.write(octal(0, 8) + octal(0, 8) + octal(data.length, 12) + octal(0, 12), 108)
    header.write(' '.repeat(8), 148) // the checksum is counted with its own field blank
    header.write(link ? '2' : type === 'folder' ? '5' : '0', 156)
    header.write(link, 157)
    header.write('ustar\0' + '00', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    return [header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}
