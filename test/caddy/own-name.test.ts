import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { realDisk } from '../../src/disk.ts'
import { findRoute } from '../../src/plan/remove-route.ts'
import { type RemovalState, removeCaddyRoute } from '../../src/steps/remove-caddy-route.ts'
import { restoreCaddyRoutes } from '../../src/steps/restore-caddy-routes.ts'
import { createCaddy } from '../../src/systems/caddy.ts'
import type { Systems } from '../../src/systems/systems.ts'
import { caddyBinary, type Prepared, startCaddy } from './start-caddy.ts'

/**
 * Caddy's JSON of a Caddyfile holds the name by which Caddy has read it, wherever the file has a `file_server`. What onehop
 * compares and loads must be what Caddy makes of the file under that very name.
 */
const old = 'localhost:8288'
const device = 'inngest.tail7af24.ts.net:8288'

type Layout = (folder: string, text: string) => Promise<Prepared>

/** The text as `path` within the folder, and the site files that it may import beside it. */
async function laidOut(folder: string, path: string, text: string): Promise<string> {
  const file = join(folder, path)
  await mkdir(join(dirname(file), 'sites'), { recursive: true })
  await writeFile(file, text)
  const port = /# imported: (\d+)/.exec(text)?.[1]
  if (port)
    await writeFile(
      join(dirname(file), 'sites/b.caddy'),
      `http://b.test:${port} {\n\troot * /srv\n\tfile_server\n}\n`,
    )
  return file
}
const plain: Layout = async (folder, text) => ({ file: await laidOut(folder, 'Caddyfile', text) })

const bodies: Record<string, string> = {
  'a file server in another site': 'http://b.test:PORT {\n\troot * /srv\n\tfile_server\n}\n',
  'a file server with its own hide':
    'http://b.test:PORT {\n\tfile_server browse {\n\t\thide .git /srv/secret\n\t}\n}\n',
  'a file server that hides the Caddyfile by itself':
    'http://b.test:PORT {\n\tfile_server {\n\t\thide Caddyfile .*\n\t}\n}\n',
  'a file server in handle_path':
    'http://b.test:PORT {\n\thandle_path /files/* {\n\t\troot * /srv\n\t\tfile_server\n\t}\n}\n',
  'a file server in a snippet':
    '(files) {\n\troot * /srv\n\tfile_server\n}\nhttp://b.test:PORT {\n\timport files\n}\n',
  'a file server in an imported site file': '# imported: PORT\nimport sites/*\n',
  'a file server behind php_fastcgi':
    'http://b.test:PORT {\n\troot * /srv\n\tphp_fastcgi unix//run/php.sock\n\tfile_server\n}\n',
  'a file server beside an import of a file':
    '# imported: PORT\nimport sites/b.caddy\nhttp://c.test:PORT {\n\tfile_server\n}\n',
}

const layouts: Record<string, Layout> = {
  'a folder with blanks and an umlaut': async (folder, text) => ({
    file: await laidOut(folder, 'my größer 🦊/Caddyfile', text),
  }),
  'another name': async (folder, text) => ({ file: await laidOut(folder, 'sites-of-panda.conf', text) }),
  'a relative name': async (folder, text) => ({
    file: await laidOut(folder, 'Caddyfile', text),
    ...{ config: 'Caddyfile', cwd: folder },
  }),
  'a relative name with a folder': async (folder, text) => ({
    file: await laidOut(folder, 'etc/caddy/Caddyfile', text),
    ...{ config: './etc/caddy/Caddyfile', cwd: folder },
  }),
  'a relative name by way of the parent folder': async (folder, text) => ({
    file: await laidOut(folder, 'caddy/Caddyfile', text),
    ...{ config: '../caddy/Caddyfile', cwd: join(folder, 'caddy') },
  }),
  'a name that is not clean': async (folder, text) => {
    const file = await laidOut(folder, 'caddy/Caddyfile', text)
    return { file, config: join(folder, 'caddy').concat('/sites/../Caddyfile') }
  },
  'a symlink that Caddy and mesh.yaml name': async (folder, text) => {
    const { link } = await linked(folder, text)
    return { file: link }
  },
  'a symlink that only mesh.yaml names': async (folder, text) => {
    const { link, file } = await linked(folder, text)
    return { file: link, config: file }
  },
  'a symlink that only Caddy names': async (folder, text) => {
    const { link, file } = await linked(folder, text)
    return { file, config: link }
  },
  'a folder that is a symlink': async (folder, text) => {
    await laidOut(folder, 'real/Caddyfile', text)
    await symlink('real', join(folder, 'etc'))
    return { file: join(folder, 'etc/Caddyfile') }
  },
  'a relative name in a folder that is a symlink': async (folder, text) => {
    await laidOut(folder, 'real/Caddyfile', text)
    await symlink('real', join(folder, 'etc'))
    return { file: join(folder, 'etc/Caddyfile'), config: 'Caddyfile', cwd: join(folder, 'etc') }
  },
}

/** A symlink of another name in another folder, where imports find the same files. */
async function linked(folder: string, text: string) {
  const file = await laidOut(folder, 'dotfiles/caddy.conf', text)
  await mkdir(join(folder, 'etc'))
  await symlink('../dotfiles/caddy.conf', join(folder, 'etc/Caddyfile'))
  await symlink('../dotfiles/sites', join(folder, 'etc/sites'))
  return { file, link: join(folder, 'etc/Caddyfile') }
}

const start = (body: string, layout: Layout) =>
  startCaddy(
    ([a, b]) =>
      `http://a.test:${a} {\n\troot * /srv\n\thandle /api/* {\n\t\treverse_proxy ${old}\n\t}\n\thandle /files/* {\n\t\tfile_server\n\t}\n}\n${body.replaceAll('PORT', String(b))}`,
    layout,
  )
type Started = Awaited<ReturnType<typeof start>>

const cases = [
  ...Object.entries(bodies).map(([name, body]) => [name, body, plain] as const),
  ...Object.entries(layouts).map(
    ([name, layout]) =>
      [
        `${name}, with file servers`,
        bodies['a file server beside an import of a file'] ?? '',
        layout,
      ] as const,
  ),
]

describe('what Caddy runs is always what it would make of the file itself', () => {
  test.each(cases)('%s: moved, taken back, moved, retired and restored', async (_, body, layout) => {
    await using started = await start(body, layout)
    const { caddy, ports } = started
    const [bytes, ran] = [await readFile(started.file), await caddy.running()]
    const site = `http://a.test:${ports[0]}`
    const move = { site, from: old, to: device }
    const back = { site, from: device, to: old }
    const agrees = async () => {
      const running = await caddy.running()
      expect(running).toEqual(await started.wouldReload())
      expect(await caddy.compareFile(running)).toEqual({ adapted: running, variables: [] })
    }
    await agrees()
    expect(await caddy.switchRoutes([move])).toEqual({ changed: 1, reloaded: true })
    await agrees()
    expect(await caddy.switchRoutes([back])).toEqual({ changed: 1, reloaded: true })
    expect(await readFile(started.file)).toEqual(bytes)
    expect(await caddy.running()).toEqual(ran)

    await caddy.switchRoutes([move])
    const state = await retired(started, site)
    expect(await caddy.running()).not.toEqual(ran)
    await agrees()
    expect(await restored(started, state)).toMatchObject({ reloaded: true })
    expect(await readFile(started.file)).toEqual(bytes)
    expect(await caddy.running()).toEqual(ran)
  })

  const killed = cases.filter(([name]) =>
    /another site|imported site file|^a relative name,|only Caddy/.test(name),
  )
  test.each(killed)(
    '%s: an attempt that was killed before it loaded is taken up',
    async (_, body, layout) => {
      await using started = await start(body, layout)
      const { caddy, ports, file } = started
      const site = `http://a.test:${ports[0]}`
      const first = await started.text()
      await writeFile(file, first.replace(old, device))
      expect(await caddy.switchRoutes([{ site, from: old, to: device }])).toEqual({
        changed: 0,
        reloaded: true,
      })
      expect(await caddy.running()).toEqual(await started.wouldReload())

      const moved = await started.text()
      const state = await retired(started, site)
      const removed = await started.text()
      await writeFile(file, moved)
      await caddy.load(await started.wouldReload())
      await writeFile(file, removed)
      expect(await removeCaddyRoute.write({ caddy } as Systems, [state])).toMatchObject({
        changed: 0,
        reloaded: true,
      })
      expect(await caddy.running()).toEqual(await started.wouldReload())
    },
  )

  const imported = (hide: string) =>
    startCaddy(
      ([a]) => `http://a.test:${a} {\n\timport files.caddy\n\treverse_proxy /api/* ${device}\n}\n`,
      async (folder, text) => {
        await writeFile(
          join(folder, 'files.caddy'),
          `handle /files/* {\n\tfile_server {\n\t\thide .git ${hide}\n\t}\n}\n`,
        )
        await writeFile(join(folder, 'Caddyfile'), text)
        return join(folder, 'Caddyfile')
      },
    )

  test('a route is not taken out where Caddy would then show the Caddyfile to clients', async () => {
    await using started = await imported('')
    const [text, site] = [await started.text(), `http://a.test:${started.ports[0]}`]
    const routes = [findRoute(text, { file: started.file, site, upstream: device })]
    const state = { file: started.file, removed: true, routes }
    await expect(removeCaddyRoute.write({ caddy: started.caddy } as Systems, [state])).rejects.toMatchObject({
      code: 'caddy-removal-unhides',
    })
    expect(await started.text()).toBe(text)
  })

  test('and it is where the imported file hides it, as the refusal says', async () => {
    await using started = await imported('CADDYFILE')
    const { folder, file, caddy } = started
    const shared = join(folder, 'files.caddy')
    await writeFile(shared, (await readFile(shared, 'utf8')).replace('CADDYFILE', file))
    await caddy.load(await started.wouldReload())
    await retired(started, `http://a.test:${started.ports[0]}`)
    expect(await caddy.running()).toEqual(await started.wouldReload())
    expect(JSON.stringify(await caddy.running())).toContain(`"${file}"`)
  })

  test('an edit by hand is still seen, in what the file server hides as well', async () => {
    await using started = await start(bodies['a file server with its own hide'] ?? '', plain)
    const { caddy, ports, file } = started
    const edited = (await started.text()).replace('/srv/secret', '/srv/other')
    await writeFile(file, edited)
    const move = { site: `http://a.test:${ports[0]}`, from: old, to: device }
    await expect(caddy.switchRoutes([move])).rejects.toMatchObject({ code: 'caddy-file-not-running' })
    expect(await started.text()).toBe(edited)
    expect(started.loads()).toBe(0)
  })
})

describe('the folder of the file', () => {
  const edit = { from: old, to: device }
  const body = bodies['a file server beside an import of a file'] ?? ''
  const refuse = async () => {
    throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
  }
  const closed = { ...realDisk, lock: refuse, open: refuse, writeFile: refuse, rename: refuse, rm: refuse }

  test('may be one that nothing can be written to, for all that only reads', async () => {
    await using started = await start(body, plain)
    const { file, admin, ports } = started
    const caddy = createCaddy({ file, admin, bin: caddyBinary, disk: closed })
    const site = `http://a.test:${ports[0]}`
    expect((await caddy.preview({ edits: [edit] })).changed).toHaveLength(1)
    expect(await caddy.readRoutes([{ site, ...edit }])).toMatchObject([{ current: 'from' }])
    const running = await caddy.running()
    expect(await caddy.compareFile(running)).toEqual({ adapted: running, variables: [] })
    await expect(caddy.switchRoutes([{ site, ...edit }])).rejects.toMatchObject({
      code: 'caddy-file-unreadable',
    })
  })

  test('holds a draft only for a Caddy before 2.10.1, which follows no symlink and is gone afterwards', async () => {
    await using started = await start(body, plain)
    const { file, folder, admin, ports } = started
    const bin = join(folder, 'caddy-2.8.4')
    const asked = join(folder, 'asked')
    await writeFile(
      bin,
      `#!/bin/sh\n[ "$1" = version ] && exec echo v2.8.4\necho "$3" >> ${asked}\n[ "$3" = - ] && exit 1\nexec ${caddyBinary} "$@"\n`,
    )
    await chmod(bin, 0o755)
    const mine = join(folder, 'mine')
    await writeFile(mine, 'mine')
    await symlink('mine', join(folder, '.Caddyfile.onehop-adapt'))
    const caddy = createCaddy({ file, admin, bin })
    const site = `http://a.test:${ports[0]}`
    expect((await caddy.preview({ edits: [edit] })).changed).toHaveLength(1)
    expect(await caddy.switchRoutes([{ site, ...edit }])).toEqual({ changed: 1, reloaded: true })
    expect(await caddy.running()).toEqual(await started.wouldReload())
    const state = await retired({ ...started, caddy }, site)
    expect(await caddy.running()).toEqual(await started.wouldReload())
    await restored({ ...started, caddy }, state)
    expect(await caddy.running()).toEqual(await started.wouldReload())
    expect(await readFile(asked, 'utf8')).toContain('.Caddyfile.onehop-adapt')
    expect(await readFile(mine, 'utf8')).toBe('mine')
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([])
  })
})

async function retired(started: Started, site: string): Promise<RemovalState> {
  const text = await started.text()
  const routes = [findRoute(text, { file: started.file, site, upstream: device })]
  const state = { file: started.file, removed: true, routes }
  expect(await removeCaddyRoute.write({ caddy: started.caddy } as Systems, [state])).toMatchObject({
    reloaded: true,
  })
  return state
}

function restored(started: Started, state: RemovalState) {
  const swap = (upstream: string) => ({
    file: state.file,
    routes: state.routes.map(({ site }) => ({ site, upstream })),
  })
  const undo = { removed: [state], swaps: [{ from: swap(device), to: swap(old) }] }
  return restoreCaddyRoutes({ caddy: started.caddy } as Systems, undo, { underWay: undo })
}
