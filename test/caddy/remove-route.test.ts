import { lstat, readFile, symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { text as bodyOf } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { judgeRemoval } from '../../src/plan/judge-removal.ts'
import { findRoute, removeRoute } from '../../src/plan/remove-route.ts'
import { siteRequests } from '../../src/plan/request-counts.ts'
import { type RemovalState, removeCaddyRoute } from '../../src/steps/remove-caddy-route.ts'
import { type CaddyUndo, restoreCaddyRoutes } from '../../src/steps/restore-caddy-routes.ts'
import { createCaddyRequests } from '../../src/systems/caddy-requests.ts'
import type { Systems } from '../../src/systems/systems.ts'
import { editedRoutes, file, fixtureText } from './removal-fixtures.ts'
import { startCaddy } from './start-caddy.ts'

const device = 'inngest.tail7af24.ts.net:8288'

describe('Caddy itself agrees that only the route goes', async () => {
  const { caddy, ...started } = await startCaddy(([a]) => `http://panda.test:${a} {\n\trespond hi\n}\n`)
  test.each(editedRoutes)('$fixture: $site', async ({ fixture, site, upstream, judged }) => {
    const text = fixtureText(fixture)
    const route = findRoute(text, { file, site, upstream })
    const [before, after] = [await caddy.adapt(text), await caddy.adapt(removeRoute(text, route))]
    const wrong = judgeRemoval(before, after, [route])
    if (judged) expect(wrong).toMatchObject({ leaks: true })
    else expect(wrong).toBeUndefined()

    // The judge must see it when one more thing goes, or stays.
    expect(judgeRemoval(before, before, [route])).toBeDefined()
    const port = JSON.stringify(after).replace(/"dial":"localhost:\d+"/, '"dial":"localhost:9"')
    if (port !== JSON.stringify(after)) expect(judgeRemoval(before, JSON.parse(port), [route])).toBeDefined()
  })
  test('and its folder is gone afterwards', () => started[Symbol.asyncDispose]())
})

test('a whole site is not taken out when it also goes where the text does not show', async () => {
  await using started = await startCaddy(([a]) => `http://panda.test:${a} {\n\trespond hi\n}\n`)
  const text = `a.net {\n\treverse_proxy ${device} {env.UP}\n}\n`
  const route = findRoute(text, { file, site: 'a.net', upstream: device })
  const adapted = await Promise.all([text, removeRoute(text, route)].map(started.caddy.adapt))
  expect(judgeRemoval(adapted[0], adapted[1], [route])).toMatchObject({ before: '{env.UP}' })
})

const twoSites = ([a, b]: number[]) =>
  `# Inngest\r\nhttp://panda.test:${a} {\r\n\treverse_proxy ${device}\r\n}\r\nhttp://localhost:${b} {\r\n\thandle /webhooks/* {\r\n\t\trespond hook\r\n\t}\r\n\thandle {\r\n\t\treverse_proxy ${device}\r\n\t}\r\n}\r\n`

/** The state that a step would have read, for both sites. */
async function stateOf(started: Awaited<ReturnType<typeof startCaddy>>): Promise<RemovalState> {
  const [a, b] = started.ports
  const text = await started.text()
  const routes = [`http://panda.test:${a}`, `http://localhost:${b}`].map((site) =>
    findRoute(text, { file: started.file, site, upstream: device }),
  )
  return { file: started.file, removed: true, routes }
}
const write = (caddy: unknown, state: RemovalState) => removeCaddyRoute.write({ caddy } as Systems, [state])
/** The undo of a retirement, and of the move before it where `first` says what the routes went to. */
function restore(caddy: unknown, state: RemovalState, { first, underWay }: Restoring = {}) {
  const routes = (upstream: string) => state.routes.map(({ site }) => ({ site, upstream }))
  const swap = (to: string) => ({
    from: { file: state.file, routes: routes(device) },
    to: { file: state.file, routes: routes(to) },
  })
  const undo = { removed: [state], swaps: first === undefined ? [] : [swap(first)] }
  return restoreCaddyRoutes({ caddy } as Systems, undo, { underWay: underWay ?? undo })
}
type Restoring = { first?: string; underWay?: CaddyUndo }

describe('the step', () => {
  test('takes two routes out with one reload, a second time does nothing, and back gives the first bytes and config', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, loads } = started
    const [first, ran] = [await started.text(), await caddy.running()]
    const state = await stateOf(started)
    expect(state.routes.map(({ whole }) => whole)).toEqual([true, false])
    expect(await write(caddy, state)).toMatchObject({ reloaded: true })
    expect(await write(caddy, state)).toMatchObject({ reloaded: false })
    expect(loads()).toBe(1)
    expect(JSON.stringify(await caddy.running())).not.toContain(device)
    expect(await caddy.running()).toEqual(await caddy.adapt(await started.text()))

    expect(await restore(caddy, state)).toMatchObject({ reloaded: true })
    expect(await started.text()).toBe(first)
    expect(await caddy.running()).toEqual(ran)
  })

  test('takes up an attempt that was killed between writing and loading', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, file: caddyfile } = started
    const state = await stateOf(started)
    const first = await started.text()
    await writeFile(caddyfile, state.routes.reduce(removeRoute, first))
    expect(await write(caddy, state)).toMatchObject({ changed: 0, reloaded: true })
    await writeFile(caddyfile, first)
    expect(await restore(caddy, state)).toMatchObject({ changed: 0, reloaded: true })
  })

  test('refuses a file that Caddy does not run; an undo gives the bytes back, and leaves the reload to its owner', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, file: caddyfile, loads } = started
    const state = await stateOf(started)
    const first = await started.text()
    const edited = first.replace('respond hook', 'respond mine')
    await writeFile(caddyfile, edited)
    await expect(write(caddy, state)).rejects.toMatchObject({ code: 'caddy-file-not-running' })
    expect(await started.text()).toBe(edited)

    await writeFile(caddyfile, state.routes.reduce(removeRoute, edited))
    const undo = () => restore(caddy, state)
    await expect(undo()).rejects.toMatchObject({ code: 'caddy-file-not-running' })
    expect(await started.text()).toBe(edited)
    expect(loads()).toBe(0)
    await caddy.load(await caddy.adapt(edited))
    expect(await undo()).toMatchObject({ changed: 0, reloaded: false })
  })

  test('what was moved and retired comes back with its first upstream in one reload, and only once', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, loads, file: caddyfile } = started
    const state = await stateOf(started)
    const moved = await started.text()
    const first = moved.replaceAll(device, 'localhost:8288')
    await write(caddy, state)
    expect(await restore(caddy, state, { first: 'localhost:8288' })).toMatchObject({ reloaded: true })
    expect(await started.text()).toBe(first)
    expect(await caddy.running()).toEqual(await caddy.adapt(first))
    expect(loads()).toBe(2)
    expect(await restore(caddy, state, { first: 'localhost:8288' })).toMatchObject({ reloaded: false })

    // What is back is its owner's again, whatever he makes of it.
    const owned = first.replace('# Inngest', '# mine').replace('respond hook', 'respond mine')
    await writeFile(caddyfile, owned)
    await caddy.load(await caddy.adapt(owned))
    expect(await restore(caddy, state, { first: 'localhost:8288' })).toMatchObject({ reloaded: false })
    expect(await started.text()).toBe(owned)

    // A move that failed to retire gets its own bytes, with the device name.
    await writeFile(caddyfile, moved)
    await caddy.load(await caddy.adapt(moved))
    await write(caddy, state)
    await restore(caddy, state)
    expect(await started.text()).toBe(moved)
  })

  test('a rollback of one takes up what a rollback of several wrote, and was killed before it loaded it', async () => {
    await using started = await startCaddy(twoSites)
    const { caddy, file: caddyfile } = started
    const state = await stateOf(started)
    const moved = await started.text()
    await write(caddy, state)
    await writeFile(caddyfile, moved.replaceAll(device, 'localhost:8288'))
    const [one, other] = state.routes.map((route) => ({ ...state, routes: [route] }))
    if (!one || !other) throw new Error('two routes')
    // Alone it cannot know that the rest of the file is ours too.
    await expect(restore(caddy, one, { first: 'localhost:8288' })).rejects.toMatchObject({
      code: 'caddy-file-not-running',
    })
    const routes = (upstream: string) => state.routes.map(({ site }) => ({ site, upstream }))
    const underWay = {
      removed: [one, other],
      swaps: [
        {
          from: { file: state.file, routes: routes(device) },
          to: { file: state.file, routes: routes('localhost:8288') },
        },
      ],
    }
    const undo = (each: RemovalState) => restore(caddy, each, { first: 'localhost:8288', underWay })
    expect(await undo(one)).toMatchObject({ changed: 0, reloaded: true })
    expect(await undo(other)).toMatchObject({ changed: 0, reloaded: false })
    expect(await caddy.running()).toEqual(await caddy.adapt(await started.text()))
  })

  test('writes the target of a symlink', async () => {
    await using started = await startCaddy(twoSites, async (folder, text) => {
      await writeFile(`${folder}/real`, text)
      await symlink('real', `${folder}/Caddyfile`)
      return `${folder}/Caddyfile`
    })
    const { caddy, file: caddyfile, folder } = started
    const state = await stateOf(started)
    await write(caddy, state)
    expect((await lstat(caddyfile)).isSymbolicLink()).toBe(true)
    expect(await readFile(`${folder}/real`, 'utf8')).not.toContain(device)
  })

  test('refuses to let another site answer', async () => {
    await using started = await startCaddy(
      ([a]) => `http://panda.test:${a} {\n\treverse_proxy ${device}\n}\n:${a} {\n\trespond all\n}\n`,
    )
    const { caddy, ports } = started
    const text = await started.text()
    const named = { file: started.file, site: `http://panda.test:${ports[0]}`, upstream: device }
    await expect(
      write(caddy, { file: started.file, removed: true, routes: [findRoute(text, named)] }),
    ).rejects.toMatchObject({
      code: 'caddy-removal-leaks',
      message: expect.stringContaining('static_response'),
    })
    expect(await started.text()).toBe(text)
  })
})

describe("Caddy's own counters", () => {
  const counted = ([a, b]: number[]) =>
    `http://panda.test:${a} {\n\trespond a\n}\nhttp://other.test:${a} {\n\trespond o\n}\nhttp://localhost:${b} {\n\trespond b\n}\n`

  test('are absent without "metrics", and after a reload that failed', async () => {
    await using started = await startCaddy(counted)
    const { caddy, ports, admin, file: caddyfile } = started
    const { requestCounts } = createCaddyRequests({ admin, file: caddyfile })
    await get(ports[0] ?? 0, 'panda.test')
    expect(await requestCounts()).toBeUndefined()

    const text = (await started.text()).replace('auto_https off', 'auto_https off\n\tmetrics')
    const config = await caddy.adapt(text)
    await caddy.load(config)
    expect(await requestCounts()).toBeUndefined()
    await get(ports[0] ?? 0, 'panda.test')
    expect(await requestCounts()).toBeDefined()

    const failing = await caddy.adapt(
      text
        .replace('respond b', 'tls /none.crt /none.key\n\trespond b')
        .replace('http://localhost', 'https://localhost'),
    )
    await expect(caddy.load(failing)).rejects.toMatchObject({ code: 'caddy-did-not-take' })
    await get(ports[0] ?? 0, 'panda.test')
    expect(await requestCounts()).toBeUndefined()
  })

  test.each(['metrics', 'metrics {\n\t\tper_host\n\t}'])(
    'tell the requests of a site, never too few: %s',
    async (directive) => {
      await using started = await startCaddy(counted, async (folder, text) => {
        const caddyfile = `${folder}/Caddyfile`
        await writeFile(caddyfile, text.replace('auto_https off', `auto_https off\n\t${directive}`))
        return caddyfile
      })
      const { caddy, ports, admin, file: caddyfile } = started
      const [a = 0, b = 0] = ports
      const { requestCounts } = createCaddyRequests({ admin, file: caddyfile })
      const began = Date.now()
      await get(a, `panda.test:${a}`)
      await get(a, 'other.test')
      const counts = await requestCounts()
      expect(counts && siteRequests(counts, `http://localhost:${b}`)).toMatchObject({
        requests: 0,
        inFlight: 0,
      })
      const asked = counts && siteRequests(counts, `http://panda.test:${a}`)
      expect(asked?.requests).toBe(directive === 'metrics' ? 2 : 1)
      expect(Math.abs((asked?.since ?? 0) - began)).toBeLessThan(60_000)
      expect(counts && siteRequests(counts, 'http://nobody.test:1')).toBeUndefined()

      // Each change of the config begins anew: a count says nothing of the time before.
      await caddy.load(await caddy.adapt((await started.text()).replace('respond b', 'respond c')))
      await get(b, 'localhost')
      const later = await requestCounts()
      expect(later?.since).toBeGreaterThan(counts?.since ?? 0)
      expect(later && siteRequests(later, `http://panda.test:${a}`)?.requests).toBe(0)
    },
  )
})

/** `fetch` does not let a Host be chosen. */
async function get(port: number, host: string): Promise<string> {
  const socket = connect(port, 'localhost')
  socket.end(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
  return bodyOf(socket)
}
