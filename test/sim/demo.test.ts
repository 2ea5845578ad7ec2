import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOnehopApp } from '../../src/server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const names = ['redis', 'qdrant', 'inngest', 'livekit', 'pds', 'typesense']

let folder: string
let demo: Awaited<ReturnType<typeof run>>

/** Runs one of the project's programs, which finds no other program (no PATH) and an empty home. */
function run(script: string, ...args: string[]) {
  return execa(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
    cwd: root,
    env: { NO_COLOR: '1', ONEHOP_MESH: join(folder, 'mesh.yaml'), HOME: home(), PATH: '' },
    extendEnv: false,
    timeout: 120_000,
    reject: false,
    stdin: 'ignore',
  })
}
const home = () => join(folder, '../home')
const onehop = async (...args: string[]) => {
  const { stdout, stderr } = await run('src/cli/main.ts', ...args, '--json')
  expect(stdout, stderr).toMatch(/^\{/)
  return JSON.parse(stdout)
}

beforeAll(async () => {
  folder = join(await realpath(await mkdtemp(join(tmpdir(), 'onehop-demo-'))), 'world')
  await mkdir(home())
  demo = await run('simulated/demo.ts', '--json', '--folder', folder)
}, 180_000)

afterAll(() => rm(join(folder, '..'), { recursive: true }))

test('the demo moves six services, takes one failure back, repairs a drift and undoes everything', () => {
  expect(demo.exitCode, demo.stderr).toBe(0)
  expect(JSON.parse(demo.stdout)).toMatchObject({
    ok: true,
    command: 'demo',
    result: {
      services: names.map((service) => ({ service, state: 'restored', restored: true })),
      drift: { found: expect.any(Number), repaired: expect.any(Number) },
      caddyfile_restored: true,
      simulated: true,
    },
    error: null,
  })
  const { found, repaired } = JSON.parse(demo.stdout).result.drift
  expect(found).toBeGreaterThan(0)
  expect(repaired).toBe(found)
  expect(demo.stderr).not.toMatch(/\[object |undefined|NaN/)
})

test('its first lines say what is simulated and what is real', () => {
  const [first, second, , third] = demo.stderr.split('\n')
  expect(first).toContain('simulation')
  expect(second).toMatch(/simulated: +Kubernetes/)
  expect(third).toMatch(/real: +onehop itself/)
  expect(demo.stderr).toContain('npm run demo:real')
})

test('its world can be planned, moved, looked at and undone by the commands that it suggests', {
  timeout: 180_000,
}, async () => {
  expect(await onehop('plan')).toMatchObject({ ok: true, result: { blocked: 0 } })
  const statesOf = async () =>
    Object.fromEntries(
      (await onehop('status')).result.services.map((each: { name: string; state: string }) => [
        each.name,
        each.state,
      ]),
    )
  const all = (state: string) => Object.fromEntries(names.map((name) => [name, state]))
  expect(await statesOf()).toEqual(all('restored'))
  expect(await onehop('migrate', '--yes')).toMatchObject({ ok: true, error: null })
  expect(await statesOf()).toEqual(all('moved'))
  expect(await onehop('drift')).toMatchObject({ ok: true, result: { drifts: [] } })
  expect(await onehop('journal', 'redis')).toMatchObject({ ok: true })
  expect(await onehop('rollback', 'redis', '--local')).toMatchObject({ ok: true })
  expect(await onehop('rollback', '--all')).toMatchObject({ ok: true })
  expect(await statesOf()).toEqual(all('restored'))
})

test('nothing was written outside of the world', async () => {
  expect(await readdir(join(folder, '..'))).toEqual(['home', 'world'])
  expect(await readdir(home())).toEqual([])
})

test.for([[], ['--clean']])('a folder with anything else in it is left as it is (%s)', async (flags) => {
  const other = join(folder, '../home')
  await writeFile(join(other, 'precious'), 'mine')
  const { exitCode, stdout } = await run('simulated/demo.ts', '--folder', other, ...flags)
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: expect.stringContaining('precious') })
  expect(await readdir(other)).toEqual(['precious'])
  await rm(join(other, 'precious'))
})

test('a flag that is unknown shows the usage', async () => {
  const { exitCode, stderr } = await run('simulated/demo.ts', '--cleen')
  expect({ exitCode, stderr }).toEqual({
    exitCode: 2,
    stderr: expect.stringContaining('usage: npm run demo'),
  })
  expect(stderr).not.toContain('    at ')
})

test.for([
  ['state', (text: string) => text.replace('state: ./state', 'state: ../home/state')],
  ['caddy.file', (text: string) => text.replace('./Caddyfile', '../home/Caddyfile')],
  ['books', (text: string) => `${text}books: ../home/NEIGHBORHOOD.md\n`],
] as const)('a %s outside of the world is refused before anything is opened', async ([key, change]) => {
  const file = join(folder, 'mesh.yaml')
  const text = await readFile(file, 'utf8')
  await writeFile(file, change(text))
  const { error } = await onehop('migrate', '--yes')
  await writeFile(file, text)
  expect(error).toMatchObject({ code: 'mesh-invalid', message: expect.stringContaining(`${key}: expected`) })
  expect(await readdir(home())).toEqual([])
})

test('neither a worker nor an app that it is mounted in serves a simulated world', async () => {
  expect(await onehop('worker')).toMatchObject({ ok: false, error: { code: 'simulated-unsupported' } })
  const meshFile = join(folder, 'mesh.yaml')
  await expect(createOnehopApp({ meshFile })).rejects.toMatchObject({ code: 'simulated-unsupported' })
})

test('a command that needs real programs says so', async () => {
  expect(await onehop('check')).toMatchObject({ ok: false, error: { code: 'simulated-unsupported' } })
})

test('a world that is not there is named, and nothing real is asked instead', async () => {
  await rm(join(folder, 'world.json'))
  expect(await onehop('plan')).toMatchObject({
    ok: false,
    error: { code: 'simulated-world-unreadable', message: expect.stringContaining(folder) },
  })
})
