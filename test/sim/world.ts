import { adaptCaddyfile } from '../../simulated/adapt-caddyfile.ts'
import { createMemoryCaddy } from '../../simulated/caddy-admin.ts'
import { createCluster } from '../../simulated/cluster.ts'
import { type ClusterState, emptyCluster } from '../../simulated/cluster-state.ts'
import { createMachineDisk } from '../../simulated/disk.ts'
import type { Call } from '../../simulated/effect.ts'
import { createEngine } from '../../simulated/engine.ts'
import { createMemoryHelm } from '../../simulated/helm.ts'
import { createMemoryIngresses } from '../../simulated/ingresses.ts'
import { createMemoryKubernetes } from '../../simulated/kubernetes.ts'
import { createMemoryOperatorObjects } from '../../simulated/operator-objects.ts'
import { createMemoryProbes } from '../../simulated/probes.ts'
import { onBehalf, type Process } from '../../simulated/process.ts'
import { createMemoryTailscale } from '../../simulated/tailscale.ts'
import { rollbackHere } from '../../src/functions/recover.ts'
import { forceAction } from '../../src/functions/rollback.ts'
import { createWorkflows } from '../../src/functions/workflows.ts'
import { openJournal } from '../../src/journal.ts'
import { parseMesh } from '../../src/plan/mesh.ts'
import type { Setup } from '../../src/setup.ts'
import { createBooks } from '../../src/systems/books.ts'
import { createCaddy } from '../../src/systems/caddy.ts'
import { createCaddyAdmin } from '../../src/systems/caddy-admin.ts'
import type { Systems } from '../../src/systems/systems.ts'
import { pause as pauseUntil, watchRequests } from '../../src/watch.ts'
import type { Case, CaseRequest } from './case.ts'
import type { Fault } from './faults.ts'
import { createInvariants } from './invariants.ts'
import type { Runtime } from './runtime.ts'

export const tailnet = 'sim.ts.net'
export const caddyfile = '/panda/caddy/Caddyfile'
const state = '/panda/state/onehop'

/** Everything of one case: panda's disk and Caddy, the cluster, the engine, and onehop's processes, which come and go. */
export function createWorld(runtime: Runtime, each: Case) {
  const { services, requests } = each
  const { random, note, effect } = runtime
  const disk = createMachineDisk(runtime)
  const names = services.map((_, index) => `s${index + 1}`)
  const first = firstCaddyfile(services)
  disk.put(caddyfile, first)
  disk.put('/panda/state/kept', '')
  const mesh = parseMesh(JSON.stringify(meshOf(each)), '/panda/mesh.yaml')
  const cluster = createCluster({
    ...{ random, tailnet, state: firstCluster(services) },
    // What a call has changed is checked after the call.
    changed: (by) => by === 'own' && runtime.check(),
  })
  const { policy } = cluster.state
  services.forEach(({ before }, index) => {
    const name = `s${index + 1}`
    const owned = (value: string) => ({ value, owners: ['kubectl-client-side-apply'] })
    cluster.add({
      namespace: 'apps',
      name,
      clusterIP: `10.96.0.${index + 1}`,
      annotations: new Map([
        ['example.com/owner', owned('joel')],
        ...(before === 'nothing' ? [] : [['tailscale.com/tags', owned('tag:old')] as const]),
        ...(before === 'exposed'
          ? [
              ['tailscale.com/expose', owned('true')] as const,
              ['tailscale.com/hostname', owned(`old-${name}`)] as const,
            ]
          : []),
      ]),
      finalizers: [],
      ports: [{ name: 'main', port: 9001 + index }],
    })
  })
  const caddy = createMemoryCaddy((before, after) => invariants.loaded(before, after))
  caddy.start(adaptCaddyfile(first))
  const engine = createEngine(runtime)
  const invariants = createInvariants({
    runtime,
    mesh,
    cluster,
    disk,
    caddy,
    policy,
    first,
    state,
    caddyfile,
  })

  const processes: Process[] = []
  let [numbered, asked, booting, busy] = [0, 0, 0, 0]
  let worker: Process | undefined
  let looked = false

  function setupFor(by: Process): Setup {
    const handle = disk.handle(by)
    const renaming = {
      ...handle,
      // From the last look at the file to the rename is the one moment in which a save by hand would be lost.
      readFile: async (path: string) => {
        const bytes = await handle.readFile(path)
        looked = isReplacing()
        return bytes
      },
      rename: async (from: string, to: string) => {
        const before = to === caddyfile ? disk.peek(caddyfile) : undefined
        await handle.rename(from, to)
        looked = false
        if (before !== undefined) invariants.fileWritten(before)
      },
    }
    const systems: Systems = {
      kubernetes: createMemoryKubernetes({ effect, cluster, by, written: invariants.serviceWritten }),
      tailscale: createMemoryTailscale({
        ...{ effect, cluster, by },
        written: invariants.policyWritten,
      }),
      helm: createMemoryHelm({ effect, cluster, by }),
      caddy: {
        ...createCaddy({
          file: caddyfile,
          admin: 'http://sim:2019',
          disk: renaming,
          server: createCaddyAdmin({
            admin: 'http://sim:2019',
            file: caddyfile,
            call: caddy.call(effect, by),
          }),
          adapter: async (text) => adaptCaddyfile(text),
        }),
        version: async () => '2.11.9',
      },
      operatorClient: createMemoryTailscale({ effect, cluster, by, client: 'operator' }),
      operatorObjects: createMemoryOperatorObjects({ effect, cluster, by }),
      ingresses: createMemoryIngresses({ effect, cluster, by }),
      probes: createMemoryProbes({ effect, cluster, by, running: caddy.config }),
      sockets: { connections: async () => [], addresses: () => [] },
      caddyRequests: { requestCounts: async () => undefined },
      books: createBooks(handle),
      webhook: { post: async () => undefined },
    }
    const journal = () => openJournal(state, handle)
    return {
      mesh: async () => mesh,
      journal,
      work: async () => ({ mesh, journal: await journal(), systems }),
    }
  }

  const spawn = (kind: string): Process => {
    const process = { name: `${kind} ${++numbered}`, alive: true }
    processes.push(process)
    return process
  }

  /** `onehop worker`: holds the folder, serves the engine, and looks after what is lost. */
  function startWorker(): void {
    const process = spawn('worker')
    worker = process
    const setup = setupFor(process)
    const send = (event: Parameters<typeof engine.send>[1]) => engine.send(process, event)
    const died = new AbortController()
    stops.set(process, died)
    note(process.name, 'starts')
    booting++
    void onBehalf.run('local', async () => {
      let booted = false
      const boot = () => {
        if (!booted) booting--
        booted = true
      }
      died.signal.addEventListener('abort', boot)
      for (;;) {
        try {
          const journal = await setup.journal()
          await journal.hold('worker', () => undefined)
          break
        } catch (thrown) {
          note(process.name, `cannot start: ${thrown}`)
          await pauseUntil(5000, died.signal)
          if (!process.alive) return
        }
      }
      boot()
      engine.attach({ process, workflows: createWorkflows(setup, send) })
      await watchRequests({ setup, send, signal: died.signal, log: (line) => note(process.name, line) })
    })
  }
  const stops = new Map<Process, AbortController>()

  function kill(process: Process): void {
    process.alive = false
    note(process.name, 'is killed')
    disk.died(process)
    stops.get(process)?.abort()
    if (process !== worker) return
    engine.workerDied(process)
    worker = undefined
    comeBack()
  }

  function comeBack(): void {
    const away = random() < 0.1 ? 300_000 : 1000 + random() * 30_000
    booting++
    setTimeout(() => {
      booting--
      if (!worker) startWorker()
    }, away)
  }

  /** The whole machine: every process, what was not synced, the cluster's pods and its engine; Caddy starts with its file. */
  function powerCut(): void {
    for (const each of processes) {
      if (!each.alive) continue
      each.alive = false
      disk.died(each)
      stops.get(each)?.abort()
    }
    if (worker) engine.workerDied(worker)
    worker = undefined
    disk.powerCut()
    engine.restart()
    for (const key of cluster.proxies.keys()) cluster.killPod(key, 5000 + random() * 15_000)
    try {
      caddy.start(adaptCaddyfile(disk.peek(caddyfile) ?? ''))
    } catch (thrown) {
      runtime.violate('I1', `Caddy cannot start with its file: ${thrown}`)
    }
    invariants.restarted()
    comeBack()
  }

  /** The command line does something by itself. */
  function command(
    service: string,
    what: string,
    work: (setup: Setup, by: Process) => Promise<unknown>,
  ): void {
    const process = spawn('cli')
    busy++
    const stop = new AbortController()
    stops.set(process, stop)
    stop.signal.addEventListener('abort', () => busy--)
    void onBehalf.run('local', () =>
      work(setupFor(process), process)
        .then(
          (result) => note(process.name, `${what} ${service}: ${JSON.stringify(result)}`),
          (thrown: unknown) => note(process.name, `${what} ${service}: ${thrown}`),
        )
        .then(() => stop.abort()),
    )
  }

  const rollbackLocally = (service: string) =>
    command(service, 'rollback --local', (setup) =>
      rollbackHere(setup, { services: [service], force: false, report: () => undefined }),
    )

  /** By force: how long nobody was seen is not the simulation's to say. */
  const retireByForce = (service: string, id: string) =>
    command(service, 'retire --force', async (setup, by) => {
      const force = await (await setup.journal()).issueCode(forceAction('retire', service))
      await engine.send(by, { id, name: 'mesh/service.retire.requested', data: { service, force } })
    })

  function ask({ kind, service }: CaseRequest): void {
    const name = names[service] ?? 's1'
    const id = `req-${++asked}`
    note('person', `${kind} ${name} (${id})`)
    if (kind === 'edit by hand') {
      const site = `http://hand-${asked}.sim:6998 {\n\trespond "by hand"\n}\n`
      invariants.edits.appendToCaddyfile(asked % 2 === 0 ? site : `# by hand ${asked}\n`)
      caddy.start(adaptCaddyfile(disk.peek(caddyfile) ?? ''))
      invariants.edits.editPolicy(`hand-${asked}`)
      runtime.check()
    } else if (kind === 'local rollback') rollbackLocally(name)
    else if (kind === 'retire') retireByForce(name, id)
    else engine.deliver({ id, ...eventOf(kind, name) })
  }

  function eventOf(
    kind: Exclude<CaseRequest['kind'], 'local rollback' | 'retire' | 'edit by hand'>,
    name: string,
  ) {
    switch (kind) {
      case 'migrate':
        return { name: 'mesh/migration.requested', data: {} }
      case 'some':
        return { name: 'mesh/migration.requested', data: { services: names.slice(names.indexOf(name)) } }
      case 'expose':
        return { name: 'mesh/service.expose.requested', data: { service: name } }
      case 'rollback':
        return { name: 'mesh/service.rollback.requested', data: { service: name } }
      case 'rollback all':
        return { name: 'mesh/rollback.requested', data: {} }
      case 'abort':
        return { name: 'mesh/migration.abort.requested', data: {} }
      case 'abort all':
        return { name: 'mesh/migration.abort.requested', data: { all: true } }
      default:
        return kind satisfies never
    }
  }

  /** Whether a fault can happen here at all; if not, it waits for a later effect. */
  function possible({ kind }: Fault, by: Process): boolean {
    if (kind === 'duplicate' || kind === 'cancelled run' || kind === 'lost run') return !engine.idle()
    if (kind === 'pod killed') return cluster.proxies.size > 0
    if (kind === 'third-party edit' || kind === 'third-party edit of ours' || kind === 'stale version')
      return !looked || !isReplacing()
    return by.alive
  }
  const isReplacing = () => disk.list('/panda/caddy').some((each) => each.endsWith('.onehop-new'))

  /** What a fault does to the world. */
  function strike({ kind }: Fault, by: Process, call: Call): void {
    const object = pick([...cluster.objects.values()])
    switch (kind) {
      case 'worker killed':
        kill(by)
        break
      case 'power cut':
        powerCut()
        break
      case 'duplicate':
        engine.duplicate()
        break
      case 'reordered':
        engine.reorder()
        break
      case 'lost run':
        engine.restart()
        break
      case 'cancelled run':
        engine.cancelOne()
        break
      case 'engine gone':
        engine.leave()
        break
      case 'stale version':
        if (call.system === 'caddy') invariants.edits.appendToCaddyfile(`# by hand ${runtime.effects()}\n`)
        else if (call.system === 'tailscale') invariants.edits.editPolicy(`hand-${runtime.effects()}`)
        else if (call.object) invariants.edits.annotate(call.object, `note-${runtime.effects()}`)
        break
      case 'third-party edit':
        if (random() < 0.25) invariants.edits.editPolicy(`hand-${runtime.effects()}`)
        else if (random() < 0.5 && object) invariants.edits.annotate(object, `note-${runtime.effects()}`)
        else if (random() < 0.5) invariants.edits.appendToCaddyfile(`# by hand ${runtime.effects()}\n`)
        else
          invariants.edits.appendToCaddyfile(
            `http://hand.sim:${5000 + runtime.effects()} {\n\trespond "hi"\n}\n`,
          )
        break
      case 'third-party edit of ours':
        if (object) invariants.edits.takeOver(object)
        break
      case 'name suffix': {
        const name = pick(names)
        if (name) invariants.edits.addDevice(name)
        break
      }
      case 'pod killed': {
        const key = pick([...cluster.proxies.keys()])
        if (key) cluster.killPod(key, 1000 + random() * 20_000)
        break
      }
      case 'machine slept':
        disk.slept()
        runtime.sleep(20_000 + random() * 3_600_000)
        break
      case 'disk full':
        // No longer than a proof of an undo waits (deadlines.undo): after that it is incomplete until a person asks again.
        disk.fill(1000 + random() * 29_000)
        break
      default:
        break
    }
  }
  const pick = <T>(all: T[]): T | undefined => all[Math.floor(random() * all.length)]

  engine.arm()
  startWorker()

  const isQuiet = () =>
    booting === 0 &&
    busy === 0 &&
    engine.idle() &&
    cluster.idle() &&
    !runtime.isLate() &&
    invariants.isSettled()

  const rest = requests.toSorted((a, b) => a.at - b.at)
  /** Asks for the next thing at its effect, or at once if nothing else happens any more; whether there was one. */
  function askNext(): boolean {
    const next = rest.shift()
    if (next) ask(next)
    return next !== undefined
  }
  function check() {
    invariants.check()
    if (rest[0] && rest[0].at <= runtime.effects()) askNext()
  }
  runtime.watch({ check, strike, possible })

  /** What is still going on, for whoever asks why it does not end. */
  const describe = () =>
    JSON.stringify({ booting, busy, engine: engine.idle(), operator: cluster.idle(), late: runtime.isLate() })

  function noMoreFaults() {
    runtime.noMoreFaults()
    disk.fill(0)
  }

  return {
    stepsOf: engine.stepsOf,
    reruns: engine.reruns,
    invariants,
    isQuiet,
    rollbackLocally,
    askNext,
    noMoreFaults,
    state: describe,
  }
}

function meshOf({ services, lost, soakSeconds = 3 }: Case) {
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  return {
    kubernetes: { context: 'sim' },
    machine: 'panda',
    tailnet,
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: caddyfile },
    engine: { url: 'http://sim:8288', patience: 60, lost },
    state,
    deadlines: { device: 40, undo: 60 },
    soak: { seconds: soakSeconds, every: Math.max(1, soakSeconds / 100) },
    services: Object.fromEntries(
      services.map(({ routed, probe, engine }, index) => [
        `s${index + 1}`,
        {
          service: `apps/s${index + 1}`,
          ports: [9001 + index],
          probe,
          engine: engine && index === services.findIndex((each) => each.engine),
          ...(isAllowed(index) && { allow: ['panda'] }),
          ...(routed && { routes: { [siteOf(index)]: 9001 + index } }),
        },
      ]),
    ),
  }
}

/** The operator is there, and ours; only a case's services are missing. */
function firstCluster(services: Case['services']): ClusterState {
  const state = emptyCluster('panda', tailnet)
  state.namespaces.set('tailscale', { podSecurity: 'privileged', ours: true })
  state.namespaces.set('apps', { podSecurity: '', ours: false })
  state.oauthSecrets.set('tailscale', { ours: true, hash: '' })
  state.proxyClasses.set('onehop', { ours: true, ready: true })
  state.kinds = 'there'
  state.operator = {
    ...{ namespace: 'tailscale', release: 'tailscale-operator', version: '1.102.4', running: true },
    ...{ hostname: 'tailscale-operator', tag: 'tag:k8s-operator', deviceId: 'operator' },
    ...{ proxyTag: 'tag:k8s', proxyClass: 'onehop' },
  }
  state.operatorDevices.set('tailscale', ['operator'])
  state.devices.set('operator', {
    ...{ id: 'operator', name: `tailscale-operator.${tailnet}`, hostname: 'tailscale-operator' },
    ...{ address: '100.64.0.2', tags: ['tag:k8s-operator'] },
  })
  state.policy = { text: firstPolicy(services), enforced: false }
  services.forEach((_, index) => {
    state.portMaps.set(9001 + index, 9001 + index)
  })
  return state
}

/** Every other service is onehop's to let in; of the rest the policy is by hand. */
const isAllowed = (index: number) => index % 2 === 0

function firstPolicy(services: Case['services']): string {
  const owned = ['k8s-operator', 'old', ...services.map((_, index) => `svc-s${index + 1}`)].flatMap(
    (tag, index) => (index < 2 || !isAllowed(index - 2) ? [`    "tag:${tag}": ["tag:k8s-operator"],\n`] : []),
  )
  return `// by hand, größer\n{\n  "tagOwners": {\n${owned.join('')}  },\n  "grants": [\n    {"src": ["joel@"], "dst": ["joel@"], "ip": ["*"]}, // mine\n  ],\n}\n`
}

const siteOf = (index: number) => `http://panda.sim:${7001 + index}`

/** A person's file: comments, odd spacing, and sites that are none of onehop's business. */
function firstCaddyfile(services: Case['services']): string {
  const sites = services.flatMap(({ routed, spelling, elsewhere }, index) => {
    const upstream = `${spelling}:${9001 + index}`
    const own = routed ? [`${siteOf(index)} { # ${upstream}\n\treverse_proxy   ${upstream}\n}\n`] : []
    return elsewhere ? [...own, `http://other.sim:${8001 + index} {\n  reverse_proxy ${upstream}\n}\n`] : own
  })
  return `# by hand, größer 🦊\n{\n\tadmin localhost:2019\n}\n\n${sites.join('\n')}http://hand.sim:6999 {\n\trespond "by hand"\n}\n`
}
