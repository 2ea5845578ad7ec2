import { expect, test } from 'vitest'
import { adaptedDials } from '../../src/plan/caddyfile.ts'
import type { createCaddy } from '../../src/systems/caddy.ts'

/**
 * What a switch of routes needs of Caddy: a judge of a file's text, and an admin API that says what runs. `make` starts one
 * with a Caddyfile, whose text it makes of free ports.
 */
export function caddyContract(make: (write: (ports: number[]) => string) => Promise<Made>): void {
  const old = '127.0.0.1:8288'
  const device = 'inngest.sim.ts.net:8288'
  const two = ([a, b]: number[]) =>
    `# größer 🦊: ${old}\nhttp://panda.test:${a} {\n\treverse_proxy   ${old}\n}\n\nhttp://localhost:${b} {\n\thandle /hooks/* {\n\t\treverse_proxy localhost:3111\n\t}\n\thandle {\n\t\treverse_proxy ${old}\n\t}\n}\n`
  const route = ({ ports }: Made) => ({ site: `http://panda.test:${ports[0]}`, from: old, to: device })
  const other = ({ ports }: Made) => `http://localhost:${ports[1]}`

  test('a switch moves the named site alone, and back gives the first bytes', async () => {
    await using made = await make(two)
    const first = await made.text()
    expect(await made.caddy.switchRoutes([route(made)])).toEqual({ changed: 1, reloaded: true })
    const running = await made.caddy.running()
    expect(running).toEqual(await made.caddy.adapt(await made.text()))
    expect(adaptedDials(running, route(made).site)).toEqual([device])
    expect(adaptedDials(running, other(made))).toEqual(['localhost:3111', old])
    const back = { ...route(made), from: device, to: old }
    expect(await made.caddy.switchRoutes([back])).toEqual({ changed: 1, reloaded: true })
    expect(await made.text()).toBe(first)
  })

  test('what is done already is neither written nor loaded', async () => {
    await using made = await make(two)
    await made.caddy.switchRoutes([route(made)])
    expect(await made.caddy.switchRoutes([route(made)])).toEqual({ changed: 0, reloaded: false })
  })

  test('a file that is no Caddyfile is refused', async () => {
    await using made = await make(two)
    for (const text of ['http://a.test:1 {\n\treverse_prxy x:1\n}\n', 'http://a.test:1 {\n'])
      await expect(made.caddy.adapt(text)).rejects.toMatchObject({ code: 'caddy-edit-refused' })
  })

  test('an edit by hand that was not loaded stops a switch and not an undo, and is neither loaded nor lost', async () => {
    await using made = await make(two)
    await made.caddy.switchRoutes([route(made)])
    const before = await made.text()
    const hand = `http://hand.test:${made.ports[2]} {\n\trespond "by hand"\n}\n`
    await made.edit(before + hand)
    const back = { ...route(made), from: device, to: old }
    await expect(made.caddy.switchRoutes([back])).rejects.toMatchObject({ code: 'caddy-file-not-running' })
    await made.caddy.switchRoutes([back], { expectRunning: false })
    expect(await made.text()).toBe(before.replace(device, old) + hand)
    expect(JSON.stringify(await made.caddy.running())).not.toContain('by hand')
    expect(adaptedDials(await made.caddy.running(), route(made).site)).toEqual([old])
  })

  test("somebody else's upstream in the place of ours is shown and left, until it is forced", async () => {
    await using made = await make(two)
    const first = await made.text()
    await made.caddy.switchRoutes([route(made)])
    const theirs = (await made.text()).replace(device, '10.0.0.9:99')
    await made.edit(theirs)
    const back = { ...route(made), from: device, to: old }
    await expect(made.caddy.switchRoutes([back], { expectRunning: false })).rejects.toMatchObject({
      code: 'caddy-tokens-changed',
      message: expect.stringContaining('10.0.0.9:99'),
    })
    expect(await made.text()).toBe(theirs)
    await made.caddy.switchRoutes([back], { expectRunning: false, force: true })
    expect(await made.text()).toBe(first)
    expect(adaptedDials(await made.caddy.running(), back.site)).toEqual([old])
    // Of two others nobody can tell which was ours.
    const site = { ...back, site: other(made), from: device, to: 'new:1' }
    await made.edit(first.replaceAll(old, '10.0.0.9:99'))
    const forced = made.caddy.switchRoutes([site], { expectRunning: false, force: true })
    await expect(forced).rejects.toMatchObject({ code: 'caddy-tokens-changed' })
  })

  test('two writers at the same moment change both routes', async () => {
    await using made = await make(two)
    const both = [route(made).site, other(made)].map((site) =>
      made.caddy.switchRoutes([{ site, from: old, to: device }]),
    )
    expect((await Promise.all(both)).map(({ changed }) => changed)).toEqual([1, 1])
    expect(await made.caddy.running()).toEqual(await made.caddy.adapt(await made.text()))
  })
}

type Made = {
  caddy: ReturnType<typeof createCaddy>
  ports: number[]
  text(): Promise<string>
  edit(text: string): Promise<void>
} & AsyncDisposable
