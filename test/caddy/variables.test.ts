import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createCaddy } from '../../src/systems/caddy.ts'
import { fixtureText } from './removal-fixtures.ts'
import { caddyBinary, startCaddy } from './start-caddy.ts'

const old = 'localhost:8288'
const device = 'inngest.tail7af24.ts.net:8288'

/** A Caddy whose own environment has variables that this process has not. */
function startWith(
  text: (ports: number[]) => string,
  env: Record<string, string>,
  sites: Record<string, string> = {},
) {
  return startCaddy(text, async (folder, written) => {
    await mkdir(join(folder, 'sites'))
    for (const [name, body] of Object.entries(sites)) await writeFile(join(folder, 'sites', name), body)
    const file = join(folder, 'Caddyfile')
    await writeFile(file, written)
    return { file, env }
  })
}

function setHere(env: Record<string, string>): void {
  Object.assign(process.env, env)
  onTestFinished(() => {
    for (const name of Object.keys(env)) delete process.env[name]
  })
}

const move = (ports: number[]) => ({ site: `http://panda.test:${ports[1]}`, from: old, to: device })
const moved = ([, b]: number[]) => `http://panda.test:${b} {\n\treverse_proxy ${old}\n}\n`
const own = ([a]: number[]) => `# {$COMMENTED}\nhttp://{$ONEHOP_DOMAIN}:${a} {\n\trespond hello\n}\n`

describe('variables that only the environment of Caddy has', () => {
  test('are named with their lines, nothing is touched, and no fix makes Caddy read the file', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test' }
    await using started = await startWith((ports) => own(ports) + moved(ports), env)
    const { caddy, ports } = started
    const text = await started.text()
    const refused = await caddy.switchRoutes([move(ports)]).catch((thrown: unknown) => thrown)
    expect(refused).toMatchObject({ code: 'caddy-variables-unknown' })
    expect(refused).toMatchObject({
      message: expect.stringContaining('{$ONEHOP_DOMAIN} (line 6, not set here)'),
    })
    expect(String(refused)).not.toContain('COMMENTED')
    expect(JSON.stringify(refused)).not.toMatch(/reload/)
    expect(await started.text()).toBe(text)
    expect(started.loads()).toBe(0)
    const { variables } = await caddy.compareFile(await caddy.running())
    expect(variables).toEqual([
      { name: 'ONEHOP_DOMAIN', file: started.file, line: 6, isSet: false, hasDefault: false },
    ])

    // With the same values, as the fix says, the file is shown to be what Caddy runs.
    setHere(env)
    expect(await caddy.switchRoutes([move(ports)])).toEqual({ changed: 1, reloaded: true })
    expect(await caddy.running()).toEqual(await started.wouldReload())
  })

  test('are no obstacle for an undo, which changes only what is ours in what runs', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test' }
    await using started = await startWith((ports) => own(ports) + moved(ports).replace(old, device), env)
    const { caddy, ports } = started
    const { site } = move(ports)
    await caddy.switchRoutes([{ site, from: device, to: old }], { expectRunning: false })
    expect(await caddy.running()).toEqual(await started.wouldReload())
    expect(JSON.stringify(await caddy.running())).toContain('panda.test')
  })

  test('are found in imported files, and where their other value is only a default', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test', ONEHOP_WORD: 'hello' }
    const site = ([a]: number[]) =>
      `http://{$ONEHOP_DOMAIN:other.test}:${a} {\n\trespond {$ONEHOP_WORD:hi}\n}\n`
    await using started = await startCaddy(
      (ports) => `# imported: ${ports[0]}\nimport sites/*.caddy\n${moved(ports)}`,
      async (folder, written) => {
        await mkdir(join(folder, 'sites'))
        const port = Number(/imported: (\d+)/.exec(written)?.[1])
        await writeFile(join(folder, 'sites/a.caddy'), site([port]))
        await writeFile(join(folder, 'Caddyfile'), written)
        return { file: join(folder, 'Caddyfile'), env }
      },
    )
    const place = join(started.folder, 'sites/a.caddy')
    await expect(started.caddy.switchRoutes([move(started.ports)])).rejects.toMatchObject({
      code: 'caddy-variables-unknown',
      message: expect.stringContaining(
        `{$ONEHOP_DOMAIN} (${place}:1, not set here), {$ONEHOP_WORD} (${place}:2, not set here)`,
      ),
    })
  })

  test('without which Caddy refuses the file: said so, with the reason of Caddy', async () => {
    const env = { ONEHOP_TARGET: 'https://panda.test' }
    await using started = await startWith(
      (ports) => `http://a.test:${ports[0]} {\n\tredir {$ONEHOP_TARGET}\n}\n${moved(ports)}`,
      env,
    )
    const { caddy, ports } = started
    const refusal = {
      code: 'caddy-variables-unknown',
      message: expect.stringMatching(/\{\$ONEHOP_TARGET\} \(line 6, not set here\).*Caddyfile:6/),
    }
    await expect(caddy.switchRoutes([move(ports)])).rejects.toMatchObject(refusal)
    await expect(caddy.adaptFile()).rejects.toMatchObject(refusal)
    await expect(caddy.preview({ edits: [{ from: old, to: device }] })).rejects.toMatchObject(refusal)
    expect(started.loads()).toBe(0)
  })

  test('are not blamed for an edit that Caddy has not loaded, where it runs with the value that they have here', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test' }
    setHere(env)
    await using started = await startWith((ports) => own(ports) + moved(ports), env)
    const more = `http://more.test:${started.ports[2]} {\n\trespond more\n}\n`
    await writeFile(started.file, (await started.text()) + more)
    const refused = started.caddy.switchRoutes([move(started.ports)])
    await expect(refused).rejects.toMatchObject({ code: 'caddy-file-not-running' })
    // With another value here, both may be the reason.
    setHere({ ONEHOP_DOMAIN: 'other.test' })
    const again = started.caddy.switchRoutes([move(started.ports)])
    await expect(again).rejects.toMatchObject({ code: 'caddy-variables-unknown' })
  })

  test('a file without variables that Caddy does not run is refused as before, and its fix makes Caddy read nothing', async () => {
    await using started = await startWith(moved, {})
    await writeFile(
      started.file,
      `${await started.text()}http://more.test:${started.ports[2]} {\n\trespond more\n}\n`,
    )
    const refused = await started.caddy.switchRoutes([move(started.ports)]).catch((thrown: unknown) => thrown)
    expect(refused).toMatchObject({ code: 'caddy-file-not-running' })
    expect(JSON.stringify(refused)).not.toMatch(/caddy reload/)
  })
})

describe('variables in the address of a site', () => {
  test('a route that is named by one is refused with its line, wherever it is looked for', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test' }
    setHere(env)
    const text = ([a]: number[]) => `{$ONEHOP_DOMAIN}:${a} {\n\treverse_proxy ${old}\n}\n`
    await using started = await startWith(text, env)
    const { caddy, ports } = started
    const route = { site: `{$ONEHOP_DOMAIN}:${ports[0]}`, from: old, to: device }
    const refusal = { code: 'caddy-address-variable', message: expect.stringContaining(`${started.file}:5 `) }
    await expect(caddy.readRoutes([route])).rejects.toMatchObject(refusal)
    await expect(caddy.switchRoutes([route])).rejects.toMatchObject(refusal)
    expect(started.loads()).toBe(0)

    // Written out, as the fix says, it is the same config: nothing has to be loaded before the move.
    await writeFile(started.file, (await started.text()).replace('{$ONEHOP_DOMAIN}', 'panda.test'))
    const site = `panda.test:${ports[0]}`
    expect(await caddy.switchRoutes([{ ...route, site }])).toEqual({ changed: 1, reloaded: true })
  })

  test('beside the named address on another port: refused, since half of the block would stay', async () => {
    const env = { ONEHOP_DOMAIN: 'panda.test' }
    setHere(env)
    const text = ([a, b]: number[]) =>
      `http://a.test:${a}, http://{$ONEHOP_DOMAIN}:${b} {\n\treverse_proxy ${old}\n}\n`
    await using started = await startWith(text, env)
    const { caddy, ports } = started
    const before = await started.text()
    await expect(
      caddy.switchRoutes([{ site: `http://a.test:${ports[0]}`, from: old, to: device }]),
    ).rejects.toMatchObject({
      code: 'caddy-address-variable',
    })
    expect(await started.text()).toBe(before)
  })

  test('the fixture of it is refused with the variable that its line holds', async () => {
    const folder = join(import.meta.dirname, '../fixtures/caddyfiles')
    const caddy = createCaddy({
      file: join(folder, 'env-in-the-address.caddyfile'),
      admin: 'http://localhost:1',
      bin: caddyBinary,
    })
    expect(await readFile(join(folder, 'env-in-the-address.caddyfile'), 'utf8')).toBe(
      fixtureText('env-in-the-address'),
    )
    await expect(
      caddy.preview({ edits: [{ site: 'a.net:9443', from: device, to: old }] }),
    ).rejects.toMatchObject({
      message: expect.stringContaining('(line 1 has an address with the placeholder {$DOMAIN:a.net})'),
    })
  })
})
