import { expect, test, vi } from 'vitest'
import { adaptCaddyfile } from '../../simulated/adapt-caddyfile.ts'
import { createMemoryCaddy } from '../../simulated/caddy-admin.ts'
import { createMachineDisk } from '../../simulated/disk.ts'
import { never, type Process } from '../../simulated/process.ts'
import { rollback } from '../../src/functions/rollback.ts'
import { openJournal } from '../../src/journal.ts'
import { adaptedDials } from '../../src/plan/caddyfile.ts'
import { isClusterService, parseMesh } from '../../src/plan/mesh.ts'
import { deviceName } from '../../src/plan/paths.ts'
import type { Setup } from '../../src/setup.ts'
import { annotateService } from '../../src/steps/annotate-service.ts'
import { removeRoutes, setType } from '../../src/steps/retire-service.ts'
import { createStep, localEngine } from '../../src/steps/step.ts'
import { switchCaddyRoutes } from '../../src/steps/switch-caddy-routes.ts'
import { createCaddy } from '../../src/systems/caddy.ts'
import { createCaddyAdmin } from '../../src/systems/caddy-admin.ts'
import type { Systems } from '../../src/systems/systems.ts'
import type { Runtime } from './runtime.ts'

// Retirement is not a part of the simulation's cases. What its undo promises is shown here, over the same disk and Caddy.
const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const caddyfile = '/panda/caddy/Caddyfile'
const ports = { whole: 9001, shared: 9002, plain: 9003, moved: 9004 }
const retired = ['whole', 'shared', 'plain'] as const
const siteOf = (name: string) => `http://${name === 'shared' ? 'localhost' : name}.test:80`
const mesh = parseMesh(
  JSON.stringify({
    kubernetes: { context: 'sim' },
    tailnet: 'sim.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: caddyfile },
    engine: { url: 'http://sim:8288' },
    state: '/panda/state/onehop',
    services: Object.fromEntries(
      Object.entries(ports).map(([name, port]) => [
        name,
        {
          service: `apps/${name}`,
          ports: [port],
          probe: 'tcp',
          ...(name !== 'plain' && { routes: { [siteOf(name)]: port } }),
        },
      ]),
    ),
  }),
  '/panda/mesh.yaml',
)
const services = mesh.services.filter(isClusterService)
const first = `# panda
http://whole.test:80 {
	reverse_proxy localhost:9001
}
http://localhost.test:80 {
	handle /hooks/* {
		respond hook
	}
	handle {
		reverse_proxy   127.0.0.1:9002
	}
}
http://moved.test:80 {
	reverse_proxy localhost:9004
}
`

/** Three services that are retired, one of them with its type `kept`, and one that is moved; each with its records. */
async function retiredWorld({ kept = '' } = {}) {
  let [written, dieAt] = [0, Number.POSITIVE_INFINITY]
  let dies: () => void = () => undefined
  const broken: string[] = []
  const objects = new Map(
    services.map(({ name, ports: [port] }) => [
      name,
      { type: 'NodePort', port: port?.port ?? 0, annotations: {} as Record<string, string>, version: 1 },
    ]),
  )
  const effect: Runtime['effect'] = async (by, { writes }, work) => {
    if (!by.alive) return never()
    if (writes && ++written === dieAt) return die(by)
    const result = await work()
    check()
    return by.alive ? result : never()
  }
  const die = (by: Process) => {
    by.alive = false
    disk.died(by)
    dies()
    return never<never>()
  }
  const disk = createMachineDisk({ effect, random: () => 0.5, pause: async () => undefined })
  let loads = 0
  const caddy = createMemoryCaddy(() => loads++)
  disk.put(caddyfile, first)
  caddy.start(adaptCaddyfile(first))

  const answers = (host: string, port: number) =>
    services.some((service) => {
      const object = objects.get(service.name)
      if (object?.port !== port) return false
      return host === deviceName(mesh, service)
        ? object.annotations['tailscale.com/expose'] === 'true'
        : /^(localhost|127\.0\.0\.1)$/.test(host) && object.type === 'NodePort'
    })
  /** At every instant a path of each service answers, and Caddy dials nothing that does not. */
  function check() {
    for (const service of services) {
      const { name, ports: all } = service
      const port = all[0]?.port ?? 0
      if (!answers('localhost', port) && !answers(deviceName(mesh, service), port))
        broken.push(`no path to ${name} answers`)
      for (const dial of adaptedDials(caddy.config(), siteOf(name))) {
        const [host = '', its] = dial.split(':')
        if (!answers(host, Number(its))) broken.push(`Caddy leads ${name} to ${dial}, which does not answer`)
      }
    }
  }

  function kubernetes(by: Process) {
    const call = <T>(what: string, work: () => T, writes = false) =>
      effect(by, { system: 'kubernetes', what, writes }, work)
    const factsOf = (name: string) => {
      const object = objects.get(name)
      if (!object) return undefined
      const { type, port, annotations, version } = object
      const common = { namespace: 'apps', name, uid: `uid-${name}`, resourceVersion: `${version}`, type }
      const its = { name: 'main', port, protocol: 'TCP', ...(type === 'NodePort' && { nodePort: port }) }
      return {
        ...{
          ...common,
          manager: 'kubectl',
          clusterIP: '10.96.0.1',
          finalizers: [] as string[],
          ports: [its],
        },
        annotations: Object.fromEntries(
          Object.entries(annotations).map(([key, value]) => [key, { value, manager: 'onehop' }]),
        ),
      }
    }
    const facts = (_: string, name: string) => call(`service ${name}`, () => factsOf(name))
    const write = (name: string, change: (object: NonNullable<ReturnType<typeof objects.get>>) => void) =>
      call(
        `write ${name}`,
        () => {
          const object = objects.get(name)
          if (object) change(object)
          if (object) object.version++
        },
        true,
      )
    return {
      clusterId: async () => 'uid-kube-system',
      service: facts,
      serviceType: facts,
      setServiceType: ({ name }: { name: string }, type: string) =>
        write(name, (object) => {
          object.type = type
        }),
      restoreServiceType: ({ name }: { name: string }, { type }: { type: string }) =>
        write(name, (object) => {
          object.type = type
        }),
      applyAnnotations: ({ name }: { name: string }, values: Record<string, string>) =>
        write(name, (object) => {
          object.annotations = values
        }),
      restoreAnnotations: ({ name }: { name: string }) =>
        write(name, (object) => {
          object.annotations = {}
        }),
      fence: ({ name }: { name: string }) => write(name, () => undefined),
      proxies: async () => ({}),
      operator: async () => ({ running: false }),
    }
  }

  function setupFor(by: Process): Setup {
    const handle = disk.handle(by)
    const admin = 'http://sim:2019'
    const systems = {
      kubernetes: kubernetes(by),
      tailscale: { devices: async () => [] },
      probes: {
        tcp: ({ host, port }: { host: string; port: number }) =>
          effect(by, { system: 'probes', what: `${host}:${port}` }, () =>
            answers(host, port)
              ? { ok: true, ms: 1 }
              : { ok: false, ms: 1, message: 'refused', refused: true },
          ),
      },
      caddy: createCaddy({
        file: caddyfile,
        admin,
        disk: handle,
        server: createCaddyAdmin({ admin, file: caddyfile, call: caddy.call(effect, by) }),
        adapter: async (text) => adaptCaddyfile(text),
      }),
    } as unknown as Systems
    const journal = () => openJournal(mesh.state, handle)
    return {
      mesh: async () => mesh,
      journal,
      work: async () => ({ mesh, journal: await journal(), systems }),
    }
  }

  const setup = setupFor({ name: 'before', alive: true })
  const { systems, journal } = await setup.work()
  for (const service of services) {
    const { name } = service
    const start = { request: 'move', run: 'move', cluster: 'uid-kube-system', tailnet: 'sim.ts.net' }
    const { attempt } = await journal.begin(name, start)
    const bare = await annotateService.read(systems, service)
    const [exposed, uid] = [annotateService.target(bare, service), bare.uid]
    await journal.record(name, attempt, { id: 'expose', before: bare, target: exposed, uid, undone: false })
    await annotateService.write(systems, { from: bare, to: exposed, undo: false, service: name })
    const before = await switchCaddyRoutes.read(systems, mesh, service)
    const target = switchCaddyRoutes.target(before, mesh, service)
    if (before.routes.length > 0)
      await journal.record(name, attempt, { id: 'switch', before, target, undone: false })
    await switchCaddyRoutes.write(systems, [{ from: before, to: target }])
    await journal.end(name, attempt, { state: 'moved' })
  }
  for (const service of retired) {
    const { attempt } = await journal.beginRetire(service, { request: `retire-${service}`, run: 'r' })
    if (service !== kept) expect(await setType(step, { setup, service, attempt })).toMatchObject({ ok: true })
    const earlier = loads
    expect(await removeRoutes(step, { setup, service, attempt })).toMatchObject({ ok: true })
    expect(loads - earlier).toBe(service === 'plain' ? 0 : 1)
    await journal.end(service, attempt, { state: 'retired' })
  }
  const begun = loads

  return {
    broken,
    text: () => disk.peek(caddyfile),
    /** Somebody else's edit, and what he does to make Caddy run it. */
    append: (line: string) => disk.put(caddyfile, (disk.peek(caddyfile) ?? '') + line),
    reload: () => caddy.start(adaptCaddyfile(disk.peek(caddyfile) ?? '')),
    config: caddy.config,
    objects,
    loads: () => loads - begun,
    entries: () => journal.list(),
    /** Takes the routes of a moved service out, and takes that back if it fails; its type is left out. */
    async retire(service: string) {
      const { attempt } = await journal.beginRetire(service, { request: `retire-${service}`, run: 'r' })
      const removed = await removeRoutes(step, { setup, service, attempt })
      const of = { setup, services: [service], request: `undo-${++requests}`, run: `undo-${requests}` }
      return removed.ok ? [] : rollback(step, { ...of, to: 'moved', failure: removed.failure })
    },
    /** A rollback in a process of its own, killed before its nth write; whether it came to its end. */
    async rollback(names: string[], killedAt = Number.POSITIVE_INFINITY): Promise<boolean> {
      const by = { name: 'rollback', alive: true }
      ;[written, dieAt] = [0, killedAt]
      const died = new Promise<false>((resolve) => {
        dies = () => resolve(false)
      })
      const of = { setup: setupFor(by), request: `undo-${++requests}`, run: `undo-${requests}` }
      return Promise.race([rollback(step, { ...of, services: names }).then(() => true), died])
    },
  }
}
let requests = 0
const step = createStep(localEngine, (_phase, _options, work) => work())
const all = services.map(({ name }) => name)

async function expectRestored(
  world: Awaited<ReturnType<typeof retiredWorld>>,
  why: string,
  { text = first } = {},
) {
  expect(world.broken, why).toEqual([])
  const states = (await world.entries()).map(({ service, state }) => `${service} ${state}`)
  expect(states, why).toEqual(all.toSorted().map((each) => `${each} restored`))
  expect(world.text(), why).toBe(text)
  expect(world.config(), why).toEqual(adaptCaddyfile(text))
  expect([...world.objects.values()].map(({ type, annotations }) => [type, annotations])).toEqual(
    all.map(() => ['NodePort', {}]),
  )
}

test('one rollback of what is retired and what is moved: one reload, and a path answers at every instant', async () => {
  const world = await retiredWorld()
  expect(world.text()).not.toContain('whole.sim.ts.net')
  expect(await world.rollback(all)).toBe(true)
  await expectRestored(world, 'undisturbed')
  expect(world.loads()).toBe(1)
})

test('the rollback of one retired service takes one reload', async () => {
  const world = await retiredWorld()
  for (const service of ['whole', 'shared']) {
    const earlier = world.loads()
    await world.rollback([service])
    expect(world.loads() - earlier).toBe(1)
  }
  await world.rollback(['plain', 'moved'])
  await expectRestored(world, 'one by one')
})

const hand = 'http://hand.test:80 {\n\trespond mine\n}\n'

test('an edit by hand stays as it is, and one that nobody has loaded yet is not loaded by a rollback', async () => {
  const loaded = await retiredWorld()
  loaded.append(hand)
  loaded.reload()
  await loaded.rollback(all)
  await expectRestored(loaded, 'loaded', { text: first + hand })
  expect(loaded.loads()).toBe(1)

  const world = await retiredWorld()
  world.append(hand)
  await world.rollback(all)
  const ends = (await world.entries()).map(({ service, state, failure }) => [service, state, failure?.code])
  expect(ends).toEqual([
    ['moved', 'restored', undefined],
    ['plain', 'restored', undefined],
    ['shared', 'rollback-incomplete', 'caddy-file-not-running'],
    ['whole', 'rollback-incomplete', 'caddy-file-not-running'],
  ])
  expect(JSON.stringify(world.config())).not.toContain('mine')
  expect(world.text()).toBe(first + hand)
  expect(world.broken).toEqual([])
  world.reload()
  await world.rollback(all)
  await expectRestored(world, 'its owner has loaded it', { text: first + hand })
})

test('a retirement that an edit by hand stands in the way of is taken back without it', async () => {
  const world = await retiredWorld()
  await world.rollback(retired.slice())
  const before = world.text()
  world.append(hand)
  expect(await world.retire('moved')).toMatchObject([
    { service: 'moved', state: 'moved', failure: { code: 'caddy-file-not-running' } },
  ])
  expect(world.text()).toBe(before + hand)
  expect(JSON.stringify(world.config())).not.toContain('mine')
  expect(world.broken).toEqual([])
  // As any other that was moved: its tokens go, and the edit stays its owner's to load.
  await world.rollback(['moved'])
  expect(world.text()).toBe(first + hand)
  expect(JSON.stringify(world.config())).not.toContain('mine')
})

test.each(['plain', 'whole'])(
  'a kept type that its owner has made a ClusterIP keeps the device of %s alone',
  async (kept) => {
    const world = await retiredWorld({ kept })
    const object = world.objects.get(kept)
    if (!object) throw new Error(kept)
    object.type = 'ClusterIP'
    await world.rollback(all)
    expect(world.broken).toEqual([])
    const ends = Object.fromEntries((await world.entries()).map((each) => [each.service, each]))
    expect(ends[kept]).toMatchObject({ state: 'rollback-incomplete', failure: { code: 'port-map-gone' } })
    const others = all.filter((each) => each !== kept)
    expect(others.map((each) => ends[each]?.state)).toEqual(others.map(() => 'restored'))
    expect(object.annotations).toHaveProperty(['tailscale.com/expose'])
    expect(world.loads()).toBe(1)
    object.type = 'NodePort'
    await world.rollback(all)
    await expectRestored(world, 'its owner has set it back')
  },
)

test.each([
  ['as a whole', [all], 1],
  ['one by one', all.map((each) => [each]), 3],
])('killed before each of its writes, and taken up again %s', async (_, again, reloads) => {
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    for (let [at, ended] = [1, false]; !ended; at++) {
      const world = await retiredWorld()
      ended = await world.rollback(all, at)
      // Until the dead one's locks are stale.
      vi.setSystemTime(Date.now() + 11_000)
      for (const names of again) await world.rollback(names)
      await expectRestored(world, `killed before write ${at}`)
      expect(world.loads()).toBeLessThanOrEqual(reloads)
    }
  } finally {
    vi.useRealTimers()
  }
})
