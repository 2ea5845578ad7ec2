import { once } from 'node:events'
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { adaptedDials, findUpstreams, replaceUpstreams } from '../../src/plan/caddyfile.ts'
import { createCaddy } from '../../src/systems/caddy.ts'
import { createCaddyAdmin } from '../../src/systems/caddy-admin.ts'
import { loseFirstAnswer } from './lose-first-answer.ts'
import { fixtureFolder, switchedRoutes, unswitchable } from './removal-fixtures.ts'
import { caddyBinary, startCaddy } from './start-caddy.ts'

const old = 'localhost:8288'
const device = 'inngest.tail7af24.ts.net:8288'

/** The user's shape: the same upstream in two sites, non-ASCII text, CRLF and a comment that names the upstream. */
const twoSites = ([a, b]: number[]) =>
  `# größer 🦊: ${old}\r\nhttp://panda.test:${a} {\r\n\treverse_proxy ${old}\r\n}\r\n\r\nhttp://localhost:${b} {\r\n\thandle /webhooks/* {\r\n\t\treverse_proxy localhost:3111\r\n\t}\r\n\thandle {\r\n\t\treverse_proxy ${old}\r\n\t}\r\n}\r\n`
const siteA = (ports: number[]) => `http://panda.test:${ports[0]}`
const siteB = (ports: number[]) => `http://localhost:${ports[1]}`

describe('a switch', () => {
  test('moves the named site only, keeps every other byte, the mode and the folder, and back gives the first bytes', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, file, folder, ports } = started
    const first = await readFile(file)
    const before = await readdir(folder)
    const route = { site: siteA(ports), from: old, to: device }

    expect(await caddy.readRoutes([route])).toEqual([{ ...route, current: 'from', upstream: old, line: 7 }])
    expect(await caddy.switchRoutes([route])).toEqual({ changed: 1, reloaded: true })
    expect(await readFile(file, 'utf8')).toBe(
      first.toString().replace(`reverse_proxy ${old}`, `reverse_proxy ${device}`),
    )
    const running = await caddy.running()
    expect(running).toEqual(await caddy.adapt(await started.text()))
    expect(adaptedDials(running, siteA(ports))).toEqual([device])
    expect(adaptedDials(running, siteB(ports))).toEqual(['localhost:3111', old])
    expect((await caddy.readRoutes([route]))[0]).toMatchObject({ current: 'to', upstream: device, line: 7 })
    expect((await stat(file)).mode & 0o777).toBe(0o640)

    expect(await caddy.switchRoutes([{ ...route, from: device, to: old }])).toEqual({
      changed: 1,
      reloaded: true,
    })
    expect((await readFile(file)).equals(first)).toBe(true)
    expect((await readdir(folder)).filter((name) => !before.includes(name) && name !== 'caddy')).toEqual([])
  })

  test('takes away the draft of a writer that was killed before its rename, and nothing else', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, folder, ports } = started
    await writeFile(join(folder, '.Caddyfile.0badcafe.onehop-new'), 'half')
    await writeFile(join(folder, '.Caddyfile.mine'), 'kept')
    await caddy.switchRoutes([{ site: siteA(ports), from: old, to: device }])
    expect((await readdir(folder)).filter((name) => name.startsWith('.Caddyfile'))).toEqual([
      '.Caddyfile.mine',
    ])
  })

  test('of several routes is one reload, and one that is already done is none', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, ports, loads } = started
    const routes = [siteA(ports), siteB(ports)].map((site) => ({ site, from: old, to: device }))
    expect(await caddy.switchRoutes(routes)).toEqual({ changed: 2, reloaded: true })
    const inode = (await stat(started.file)).ino
    expect(await caddy.switchRoutes(routes)).toEqual({ changed: 0, reloaded: false })
    expect((await stat(started.file)).ino).toBe(inode)
    expect(loads()).toBe(1)
  })

  test('at the same moment by two writers changes both routes', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, ports } = started
    const both = [siteA(ports), siteB(ports)].map((site) =>
      caddy.switchRoutes([{ site, from: old, to: device }]),
    )
    expect((await Promise.all(both)).map(({ changed }) => changed)).toEqual([1, 1])
    expect(await caddy.running()).toEqual(await caddy.adapt(await started.text()))
  })

  test('writes the target of a symlink, while imports stay relative to the link', async () => {
    await using started = await startCaddy(
      ([a, b]) =>
        `http://panda.test:${a} {\n\treverse_proxy ${old}\n}\nhttp://localhost:${b} {\n\timport beside-the-link.caddy\n}\n`,
      async (folder, text) => {
        await mkdir(join(folder, 'dotfiles'))
        await mkdir(join(folder, 'linked'))
        await writeFile(join(folder, 'dotfiles/Caddyfile'), text)
        await writeFile(join(folder, 'linked/beside-the-link.caddy'), `reverse_proxy ${old}\n`)
        await symlink('../dotfiles/Caddyfile', join(folder, 'linked/Caddyfile'))
        return join(folder, 'linked/Caddyfile')
      },
    )
    const { caddy, file, folder, ports } = started
    expect(await caddy.switchRoutes([{ site: siteA(ports), from: old, to: device }])).toEqual({
      changed: 1,
      reloaded: true,
    })
    expect((await lstat(file)).isSymbolicLink()).toBe(true)
    expect(await readFile(join(folder, 'dotfiles/Caddyfile'), 'utf8')).toContain(device)
    await expect(caddy.switchRoutes([{ site: siteB(ports), from: old, to: device }])).rejects.toMatchObject({
      code: 'caddy-route-not-in-file',
    })
  })

  test('takes up an attempt that was killed between writing and loading', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, file, ports } = started
    const route = { site: siteA(ports), from: old, to: device }
    const first = await started.text()
    await writeFile(file, first.replace(`reverse_proxy ${old}`, `reverse_proxy ${device}`))
    expect(await caddy.switchRoutes([{ ...route, from: device, to: old }])).toEqual({
      changed: 1,
      reloaded: false,
    })
    expect(await started.text()).toBe(first)

    await writeFile(file, first.replace(`reverse_proxy ${old}`, `reverse_proxy ${device}`))
    expect(await caddy.switchRoutes([route])).toEqual({ changed: 0, reloaded: true })
    expect(adaptedDials(await caddy.running(), siteA(ports))).toEqual([device])
  })
})

describe('any captured Caddyfile is switched at the tokens of its site and nowhere else, as Caddy itself agrees', () => {
  const previewOf = (name: string, edit: { site: string; from: string; to: string }) =>
    createCaddy({
      ...{ file: name, admin: 'http://localhost:1', bin: caddyBinary },
    }).preview({ edits: [edit] })
  const other = 'localhost:4321'
  const fixture = (name: string) => join(fixtureFolder, `${name}.caddyfile`)

  test.each(switchedRoutes)('$fixture: $site', async ({ fixture: name, site, lines }) => {
    const { before, after } = await previewOf(fixture(name), { site, from: device, to: other })
    const [was, is] = [before.split('\n'), after.split('\n')]
    expect(is).toEqual(
      was.map((line, index) => (lines.includes(index + 1) ? line.replace(device, other) : line)),
    )
    const changed = was.flatMap((line, index) => (line === is[index] ? [] : [index + 1]))
    expect(changed).toEqual(lines)
    const back = findUpstreams(after, { site, upstream: other }).map((each) => ({ ...each, to: device }))
    expect(replaceUpstreams(after, back)).toBe(before)
  })

  test.each(unswitchable)(
    '$fixture is refused, with its line',
    async ({ fixture: name, site, code, line }) => {
      await expect(previewOf(fixture(name), { site, from: device, to: other })).rejects.toMatchObject({
        code,
        message: expect.stringContaining(`(line ${line}`),
      })
    },
  )
})

describe('a route whose site its owner has taken out of the file', () => {
  const without = (text: string, [a]: number[]) =>
    text.replace(`http://panda.test:${a} {\r\n\treverse_proxy ${device}\r\n}\r\n`, '')
  async function switchedOver() {
    const started = await startCaddy(twoSites)
    const route = { site: siteA(started.ports), from: old, to: device }
    await started.caddy.switchRoutes([route])
    const text = without(await started.text(), started.ports)
    const undo = (flags = {}) =>
      started.caddy.switchRoutes([{ site: route.site, from: device, to: old }], {
        expectRunning: false,
        ...flags,
      })
    return { ...started, text, undo, site: route.site }
  }

  test('counts as undone, and the file stays as it is', async () => {
    await using started = await switchedOver()
    await writeFile(started.file, started.text)
    await started.caddy.load(await started.caddy.adapt(started.text))
    await expect(started.undo()).rejects.toMatchObject({ code: 'caddy-route-not-found' })
    expect(await started.undo({ gone: true })).toEqual({ changed: 0, reloaded: false })
    expect(await readFile(started.file, 'utf8')).toBe(started.text)
  })

  test('leads to its first upstream again where Caddy still runs it', async () => {
    await using started = await switchedOver()
    await writeFile(started.file, started.text)
    expect(await started.undo({ gone: true })).toEqual({ changed: 0, reloaded: true })
    expect(adaptedDials(await started.caddy.running(), started.site)).toEqual([old])
  })

  test('is not gone where the device is still dialled under another name', async () => {
    await using started = await switchedOver()
    const renamed = `${started.text}http://renamed.test:${started.ports[0]} {\r\n\treverse_proxy ${device}\r\n}\r\n`
    await writeFile(started.file, renamed)
    await expect(started.undo({ gone: true })).rejects.toMatchObject({ code: 'caddy-route-not-found' })
    expect(await readFile(started.file, 'utf8')).toBe(renamed)
  })
})

test('a reload by hand after we have asked what runs is not undone by ours', async () => {
  await using started = await startCaddy(twoSites)
  const { file, ports, admin } = started
  const edited = (await started.text()).replace('localhost:3111', 'localhost:3112')
  await writeFile(file, edited)
  const reloaded = await started.caddy.adapt(edited)
  const real = createCaddyAdmin({ admin, file })
  let asked = 0
  const server = {
    ...real,
    async running() {
      const ran = await real.running()
      if (asked++ === 0) await real.load(reloaded) // a person's `caddy reload`, right then
      return ran
    },
  }
  const caddy = createCaddy({ file, admin, bin: caddyBinary, server })
  await caddy.switchRoutes([{ site: siteA(ports), from: old, to: device }], { expectRunning: false })
  expect(await started.caddy.running()).toEqual(await started.caddy.adapt(await started.text()))
  expect(adaptedDials(await started.caddy.running(), siteB(ports))).toEqual(['localhost:3112', old])
})

test('an edit by hand while Caddy adapts ours is kept', async () => {
  await using started = await startCaddy(twoSites)
  const { file, folder, ports, admin } = started
  const before = await started.text()
  const bin = join(folder, 'caddy-with-a-hand')
  await writeFile(
    bin,
    `#!/bin/sh\nif mkdir ${folder}/once 2>/dev/null; then echo '# by hand' >> ${file}; fi\nexec ${caddyBinary} "$@"\n`,
  )
  await chmod(bin, 0o755)
  const caddy = createCaddy({ file, admin, bin })
  expect(await caddy.switchRoutes([{ site: siteA(ports), from: old, to: device }])).toEqual({
    changed: 1,
    reloaded: true,
  })
  expect(await started.text()).toBe(
    `${before.replace(`reverse_proxy ${old}`, `reverse_proxy ${device}`)}# by hand\n`,
  )
  expect(started.loads()).toBe(1)
})

describe('nothing is written and nothing is loaded', () => {
  const refusals: Array<[title: string, code: string, edit: (text: string) => string]> = [
    [
      'when the file is not what Caddy runs',
      'caddy-file-not-running',
      (text) => text.replace('localhost:3111', 'localhost:3112'),
    ],
    [
      'when somebody else changed the token',
      'caddy-tokens-changed',
      (text) => text.replace(`reverse_proxy ${old}`, 'reverse_proxy other:1'),
    ],
    [
      'when the new path was added beside the old one by hand',
      'caddy-tokens-changed',
      (text) => text.replace(`reverse_proxy ${old}`, `reverse_proxy ${device} ${old}`),
    ],
    [
      'when the route is gone',
      'caddy-route-not-found',
      (text) => text.replace(`reverse_proxy ${old}`, 'respond gone'),
    ],
    [
      'when the route has moved to a snippet',
      'caddy-route-not-in-file',
      (text) =>
        `${text.replace(`reverse_proxy ${old}`, 'import s')}`.replace(
          '# gr',
          `(s) {\n\treverse_proxy ${old}\n}\n# gr`,
        ),
    ],
    [
      'when a snippet reaches the same upstream as well',
      'caddy-route-not-in-file',
      (text) =>
        text
          .replace(`reverse_proxy ${old}`, `reverse_proxy ${old}\n\thandle_errors {\n\t\timport s\n\t}`)
          .replace('# gr', `(s) {\n\treverse_proxy ${old}\n}\n# gr`),
    ],
    [
      'when Caddy refuses the file',
      'caddy-edit-refused',
      (text) => text.replace('handle /webhooks', 'handel /webhooks'),
    ],
  ]
  for (const [title, code, edit] of refusals)
    test(title, async () => {
      await using started = await startCaddy(twoSites)
      const { caddy, file, ports, loads } = started
      const edited = edit(await started.text())
      await writeFile(file, edited)
      await expect(caddy.switchRoutes([{ site: siteA(ports), from: old, to: device }])).rejects.toMatchObject(
        { code },
      )
      expect(await started.text()).toBe(edited)
      expect(loads()).toBe(0)
    })

  test('when the edit would mix schemes: the message is that of Caddy, with the file and the line', async () => {
    await using started = await startCaddy(([a]) => `http://panda.test:${a} {\n\treverse_proxy ${old}\n}\n`)
    const failed = started.caddy.preview({ edits: [{ from: old, to: 'https://x.test' }] })
    await expect(failed).rejects.toMatchObject({ code: expect.stringMatching(/^caddy-edit-/) })
    await expect(started.caddy.adapt('a.net {\n\tnonsense\n}')).rejects.toMatchObject({
      message: expect.stringContaining(`${started.file}:2: unrecognized directive: nonsense`),
    })
  })

  test('when Caddy is down', async () => {
    await using started = await startCaddy(twoSites)
    const before = await started.text()
    await started.stop()
    await expect(
      started.caddy.switchRoutes([{ site: siteA(started.ports), from: old, to: device }]),
    ).rejects.toMatchObject({ code: 'caddy-unreachable' })
    expect(await started.text()).toBe(before)
  })
})

test('an undo leaves what others have edited, in the file and in what runs', async () => {
  await using started = await startCaddy(twoSites)
  const { caddy, file, ports } = started
  const route = { site: siteA(ports), from: old, to: device }
  await caddy.switchRoutes([route])
  await writeFile(file, (await started.text()).replace('localhost:3111', 'localhost:3112'))
  expect(await caddy.switchRoutes([{ ...route, from: device, to: old }], { expectRunning: false })).toEqual({
    changed: 1,
    reloaded: true,
  })
  expect(await started.text()).toContain('localhost:3112')
  expect(await started.text()).not.toContain(device)
  expect(adaptedDials(await caddy.running(), siteA(ports))).toEqual([old])
  expect(adaptedDials(await caddy.running(), siteB(ports))).toEqual(['localhost:3111', old])
})

test('a Caddy that cannot load the new config gets its old bytes and its old config back', async () => {
  // What `caddy adapt` cannot see: a certificate file that is gone since the start fails only when a config is loaded.
  await using started = await startCaddy(
    ([a]) => `https://panda.test:${a} {\n\ttls panda.crt panda.key\n\treverse_proxy ${old}\n}\n`,
    async (folder, text) => {
      const file = join(folder, 'Caddyfile')
      const make =
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout panda.key -out panda.crt -subj /CN=panda.test'
      await execa('openssl', make.split(' '), { cwd: folder })
      await writeFile(file, text.replace('panda.crt panda.key', `${folder}/panda.crt ${folder}/panda.key`))
      return file
    },
  )
  const { caddy, folder, ports } = started
  const [text, running] = [await started.text(), await caddy.running()]
  await rm(join(folder, 'panda.crt'))
  await expect(
    caddy.switchRoutes([{ site: `https://panda.test:${ports[0]}`, from: old, to: device }]),
  ).rejects.toMatchObject({
    code: 'caddy-did-not-take',
    message: expect.stringMatching(/panda\.crt: no such file.*; the old ones were put back/),
  })
  expect(await started.text()).toBe(text)
  expect(await caddy.running()).toEqual(running)
})

test('a config whose port is taken is not loaded, and the old one runs on', async () => {
  await using started = await startCaddy(twoSites)
  const { caddy, ports } = started
  const [, b, taken = 0] = ports
  const holder = createServer().listen(taken)
  await once(holder, 'listening')
  const running = await caddy.running()
  await expect(
    caddy.load(JSON.parse(JSON.stringify(running).replace(`":${b}"`, `":${taken}"`))),
  ).rejects.toMatchObject({
    code: 'caddy-did-not-take',
    message: expect.stringContaining('address already in use'),
  })
  expect(await caddy.running()).toEqual(running)
  holder.close()
})

test('a lost answer of /load is not a second load', async () => {
  await using started = await startCaddy(twoSites)
  using front = await loseFirstAnswer(started.admin)
  const caddy = createCaddy({ file: started.file, admin: front.admin, bin: caddyBinary })
  expect(await caddy.switchRoutes([{ site: siteA(started.ports), from: old, to: device }])).toEqual({
    changed: 1,
    reloaded: true,
  })
  expect(started.loads()).toBe(1)
})

test('the version is known also of a Caddy that calls its version unknown, and an old or missing one is refused', async () => {
  await using started = await startCaddy(twoSites)
  const { folder, file, admin, caddy } = started
  expect(await caddy.version()).toMatch(/^2\.\d+\.\d+/)
  const bin = join(folder, 'old-caddy')
  await writeFile(bin, '#!/bin/sh\necho v2.6.2\n')
  await chmod(bin, 0o755)
  await expect(createCaddy({ file, admin, bin }).version()).rejects.toMatchObject({
    code: 'caddy-too-old',
    message: expect.stringContaining('2.6.2'),
  })
  await expect(createCaddy({ file, admin, bin: join(folder, 'none') }).version()).rejects.toMatchObject({
    code: 'caddy-missing',
  })
  await expect(createCaddy({ file, admin, bin: join(folder, 'none') }).adapt('')).rejects.toMatchObject({
    code: 'caddy-missing',
  })
})

test('a file that is not UTF-8 or not there is refused', async () => {
  await using started = await startCaddy(twoSites)
  await writeFile(started.file, Buffer.from([0x23, 0xff, 0x0a]))
  await expect(started.caddy.readFile()).rejects.toMatchObject({ code: 'caddy-file-unreadable' })
  const missing = createCaddy({ file: join(started.folder, 'none'), admin: started.admin, bin: caddyBinary })
  await expect(missing.readFile()).rejects.toMatchObject({ code: 'caddy-file-unreadable' })
})

test('fetch is refused by this Caddy, our client is not', async () => {
  await using started = await startCaddy(twoSites)
  expect((await fetch(`${started.admin}/config/`)).status).toBe(403)
  expect(await started.caddy.running()).toHaveProperty('apps')
})

test('a preview changes nothing and needs no running Caddy', async () => {
  await using started = await startCaddy(twoSites)
  await started.stop()
  const text = await started.text()
  const { before, after, changed } = await started.caddy.preview({
    edits: [{ from: '127.0.0.1:8288', to: device }],
  })
  expect(before).toBe(text)
  expect(after.split(device)).toHaveLength(3)
  expect(changed.map(({ line, site }) => `${line} ${site}`)).toEqual([
    `7 ${siteA(started.ports)}`,
    `15 ${siteB(started.ports)}`,
  ])
  expect(await started.text()).toBe(text)
  await expect(started.caddy.preview({ edits: [{ from: 'nobody:1', to: device }] })).rejects.toMatchObject({
    code: 'caddy-route-not-found',
  })
})
