import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lock } from 'proper-lockfile'
import { messageOf, OnehopError } from '../src/errors.ts'
import { createWorkflows } from '../src/functions/workflows.ts'
import type { Mesh } from '../src/plan/mesh.ts'
import type { Setup } from '../src/setup.ts'
import { createBooks } from '../src/systems/books.ts'
import { createCaddy } from '../src/systems/caddy.ts'
import { createCaddyAdmin } from '../src/systems/caddy-admin.ts'
import type { Engine } from '../src/systems/engine.ts'
import type { Systems } from '../src/systems/systems.ts'
import { watchRequests } from '../src/watch.ts'
import { adaptCaddyfile } from './adapt-caddyfile.ts'
import { createMemoryCaddy } from './caddy-admin.ts'
import { createCluster } from './cluster.ts'
import type { ClusterState } from './cluster-state.ts'
import type { Call, Conditions } from './effect.ts'
import { createEngine } from './engine.ts'
import { createMemoryHelm } from './helm.ts'
import { createMemoryIngresses } from './ingresses.ts'
import { createMemoryKubernetes } from './kubernetes.ts'
import { createMemoryOperatorObjects } from './operator-objects.ts'
import { createMemoryProbes } from './probes.ts'
import type { Process } from './process.ts'
import { createMemoryTailscale } from './tailscale.ts'

/** Everything simulated that outlives a command: what `simulated:` of mesh.yaml names is a folder with this as world.json. */
export type WorldState = {
  tailnet: string
  cluster: ClusterState
  /** What Caddy runs. */
  caddy: unknown
}

export type World = Awaited<ReturnType<typeof loadWorld>>

const opened = new Map<string, Promise<World>>()

/**
 * The simulated world of a folder, once per process. Its operator and its engine live in this process: they act while a
 * command runs, and only the command that has the world's lock writes.
 *
 * @throws OnehopError simulated-world-unreadable
 */
export function openWorld(folder: string): Promise<World> {
  const world = opened.get(folder) ?? loadWorld(folder)
  opened.set(folder, world)
  return world
}

/** Writes a new world into a folder that is there. */
export function writeWorld(folder: string, state: WorldState): void {
  const file = fileOf(folder)
  writeFileSync(`${file}.new`, JSON.stringify(state, withMaps, 1), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

async function loadWorld(folder: string) {
  const text = readWorld(folder)
  const state: WorldState = JSON.parse(text, toMaps)
  const { tailnet } = state
  const by: Process = { name: 'onehop', alive: true }
  const stop = new AbortController()
  let holding: Promise<() => Promise<void>> | undefined

  const save = () => {
    // A command that only looks sees the operator act, but leaves the file to the command that has the lock.
    if (holding) writeWorld(folder, { ...state, cluster: cluster.state, caddy: caddy.config() })
  }

  /** Takes the world's lock for as long as this process lives. @throws OnehopError simulated-world-busy */
  async function hold(): Promise<void> {
    holding ??= take()
    await holding.catch((thrown: unknown) => {
      holding = undefined
      throw new OnehopError('simulated-world-busy', { folder }, { cause: thrown })
    })
  }

  async function take(): Promise<() => Promise<void>> {
    const options = { stale: 10_000, realpath: false, onCompromised: () => stop.abort() }
    const release = await lock(fileOf(folder), options)
    if (readWorld(folder) === text) return release
    await release()
    throw new Error('another command has changed the world since this one read it')
  }

  async function effect<T>(_: Process, call: Call, work: () => T | Promise<T>): Promise<T> {
    if (call.writes) await hold()
    await conditions.pause(2 + Math.random() * 8)
    const result = await work()
    if (call.writes) save()
    return result
  }
  const conditions: Conditions = {
    random: Math.random,
    effect,
    pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  }

  const cluster = createCluster({ random: Math.random, tailnet, changed: save, state: state.cluster })
  const caddy = createMemoryCaddy(() => undefined)
  caddy.start(state.caddy)
  const engine = createEngine({
    ...conditions,
    note: () => undefined,
    violate: (invariant, message) => {
      throw new Error(`${invariant}: ${message}`)
    },
  })
  let attached = false

  /** The worker's part: it serves the engine, and takes up what an earlier command has left. */
  function attach(setup: Setup): void {
    if (attached) return
    attached = true
    const send = (event: Parameters<Engine['send']>[0]) => engine.send(by, event)
    engine.attach({ process: by, workflows: createWorkflows(setup, send) })
    void watchRequests({ setup, send, signal: stop.signal, log: () => undefined })
  }

  const shared = { effect, cluster, by }
  return {
    state,
    cluster,
    caddy,
    save,
    /** For what happens to the world from outside: see effect. */
    hold,
    systems(mesh: Mesh): Systems {
      const { file, admin } = mesh.caddy
      const { context } = mesh.kubernetes
      const server = createCaddyAdmin({ admin, file, call: caddy.call(effect, by) })
      return {
        kubernetes: createMemoryKubernetes({ ...shared, context }),
        tailscale: createMemoryTailscale(shared),
        operatorClient: createMemoryTailscale({ ...shared, client: 'operator' }),
        operatorObjects: createMemoryOperatorObjects({ ...shared, context }),
        ingresses: createMemoryIngresses({ ...shared, context }),
        helm: createMemoryHelm(shared),
        caddy: {
          ...createCaddy({ file, admin, server, adapter: async (text) => adaptCaddyfile(text) }),
          version: async () => '2.11.9',
        },
        probes: createMemoryProbes({ ...shared, running: caddy.config }),
        sockets: { connections: async () => [], addresses: () => [] },
        caddyRequests: { requestCounts: async () => undefined },
        books: createBooks(),
        webhook: { post: async () => undefined },
      }
    },
    engine: (setup: Setup): Engine => ({
      async send(event) {
        await hold()
        attach(setup)
        await engine.send(by, event)
      },
      health: async () => undefined,
      apps: async () => [],
    }),
    /** Ends what runs in this process, and gives the lock back. */
    async close(): Promise<void> {
      stop.abort()
      by.alive = false
      opened.delete(folder)
      await (await holding)?.()
      holding = undefined
    },
  }
}

const fileOf = (folder: string) => join(folder, 'world.json')

function readWorld(folder: string): string {
  try {
    return readFileSync(fileOf(folder), 'utf8')
  } catch (thrown) {
    throw new OnehopError(
      'simulated-world-unreadable',
      { folder, message: messageOf(thrown) },
      { cause: thrown },
    )
  }
}

const withMaps = (_: string, value: unknown) => (value instanceof Map ? { map: [...value] } : value)

const toMaps = (_: string, value: unknown) =>
  typeof value === 'object' && value !== null && 'map' in value && Array.isArray(value.map)
    ? new Map(value.map)
    : value
