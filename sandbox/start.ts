import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { binFolder, findProgram, runFolder } from './cache.ts'
import { makeCertificates } from './certificates.ts'
import { apiServer, kubectl, startControlPlane, startNode, until } from './cluster.ts'
import { isInside } from './enter.ts'
import { addProgram, createHost, type Host, tailscaleWrapper } from './hosts.ts'
import type { imageNames } from './images.ts'
import { addresses, layCables } from './network.ts'
import { applySeed, furnishPanda, portMaps, readSeed, type SeedService, seedServices } from './seed.ts'
import { createServers, type Server } from './servers.ts'
import { controlUrl, headscale, joinTailnet, startTailnet } from './tailnet.ts'

export type World = AsyncDisposable & {
  folder: string
  /** Full path of a program of the sandbox. */
  bin(name: string): string
  panda: Host
  clanker: Host
  /** The administrator's kubeconfig. */
  kubeconfig: string
  apiServer: string
  operatorChart: string
  /** Address of the stand-in for Tailscale's API, which is the control server's too. */
  tailscaleApi: string
  server(name: string): Server
  /** Path of a server's log; of the API server's audit log as `audit`. */
  log(name: string): string
  headscale(args: string[]): Promise<unknown>
  kubectl(args: string[], input?: string): Promise<string>
  applySeed(names?: readonly SeedService[]): Promise<void>
}

export type SandboxOptions = {
  /** One call per finished part: number `k` of `n`. */
  onPart?: (part: { name: string; k: number; n: number; seconds: number }) => void
  /** Which of the user's services to put in; all when left out. */
  services?: readonly SeedService[]
  /** `cluster` leaves out the tailnet, the hosts' servers and all services. */
  parts?: 'all' | 'cluster'
  /** More arguments for `inngest start`, such as `--retry-interval=1`. */
  inngestArgs?: string[]
}

/**
 * Boots the user's whole system from nothing, in about half a minute, and returns its functions.
 * Only inside (see `runInside`), where leaving the scope, or dying in any way, ends all of it.
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<World> {
  if (!isInside())
    throw new Error('startSandbox must run inside: start this file with `runInside` of sandbox/enter.ts')
  const { services = seedServices, parts = 'all', inngestArgs = [] } = options
  const folder = runFolder
  mkdirSync(folder, { recursive: true })
  const servers = createServers(folder)
  const state = { folder, inngestArgs }
  writeFileSync(join(folder, 'world.json'), JSON.stringify(state))
  const world = attachSandbox(folder)
  const all = parts === 'all'
  const images: (keyof typeof imageNames)[] = all
    ? ['base', 'redis', 'inngest', 'proxy', 'operator']
    : ['base']

  await runParts(options.onPart, [
    ['network and certificates', () => Promise.all([layCables(), makeCertificates(join(folder, 'certs'))])],
    [
      all ? 'Kubernetes; the tailnet with panda and clanker-001' : 'Kubernetes',
      () =>
        Promise.all([
          startControlPlane({ folder, servers }).then(() => startNode({ folder, servers }, images)),
          all &&
            startTailnet({ folder, servers, policy: readSeed('policy.hujson') }).then(() => joinHosts(world)),
        ]),
    ],
    ...(all
      ? ([
          [`services: ${services.join(', ') || 'none'}`, () => world.applySeed(services)],
          ['Caddy and port maps on panda', () => startCaddy(world)],
        ] satisfies Part[])
      : []),
  ])
  return world
}

/** The functions of a world that another process in the sandbox started, without owning it. */
export function attachSandbox(folder = runFolder): World {
  const file = join(folder, 'world.json')
  if (!existsSync(file)) throw new Error(`no sandbox runs in ${folder}`)
  const { inngestArgs } = JSON.parse(readFileSync(file, 'utf8')) as { inngestArgs: string[] }
  const servers = createServers(folder)
  const host = (name: 'panda' | 'clanker-001') =>
    createHost({ folder, servers, name, lanAddress: addresses[name] })
  return {
    folder,
    bin: findProgram,
    panda: host('panda'),
    clanker: host('clanker-001'),
    kubeconfig: join(folder, 'admin.kubeconfig'),
    apiServer,
    operatorChart: join(binFolder, 'operator-chart'),
    tailscaleApi: controlUrl,
    server: servers.server,
    log: servers.log,
    headscale: (args) => headscale(folder, args),
    kubectl: async (args, input) => String((await kubectl(folder, args, input)).stdout),
    applySeed: (names = seedServices) => applySeed({ folder, names, inngestArgs }),
    // Nothing to do: the kernel ends every server with the namespaces, more thoroughly than we could.
    [Symbol.asyncDispose]: async () => {},
  }
}

type Part = [name: string, run: () => Promise<unknown>]

async function runParts(onPart: SandboxOptions['onPart'], parts: Part[]) {
  for (const [index, [name, run]] of parts.entries()) {
    const start = performance.now()
    await run()
    onPart?.({ name, k: index + 1, n: parts.length, seconds: (performance.now() - start) / 1000 })
  }
}

/** In this order, because the policy names both by address and Headscale hands addresses out in sequence. */
async function joinHosts(world: World) {
  const servers = createServers(world.folder)
  for (const host of [world.panda, world.clanker]) {
    mkdirSync(host.home)
    const socket = await joinTailnet({ folder: world.folder, servers, host: host.name })
    addProgram(host, 'tailscale', tailscaleWrapper(socket))
  }
}

async function startCaddy({ folder, panda, operatorChart }: World) {
  furnishPanda({ folder, panda, operatorChart })
  const maps = Object.entries(portMaps).map(([port, nodePort]) => `${port}=${nodePort}`)
  const portMap = fileURLToPath(new URL('./port-map.ts', import.meta.url))
  await panda.spawn(
    'port-map',
    [process.execPath, '--disable-warning=ExperimentalWarning', portMap, addresses.node, ...maps],
    {
      ready: { tcp: `${addresses.panda}:9627` },
    },
  )
  await panda.spawn(
    'caddy',
    ['caddy', 'run', '--config', join(panda.home, '.local/caddy/Caddyfile'), '--adapter', 'caddyfile'],
    {
      ready: { tcp: `${addresses.panda}:9443` },
    },
  )
  await until(
    'Caddy',
    async () => (await panda.run('curl', ['-sf', 'http://localhost:2019/config/'])).exitCode === 0,
  )
}
