import { OnehopError } from '../errors.ts'
import { findDevice, namesProblem, silentPort } from '../plan/device-problems.ts'
import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { deviceName, devicePorts, hasOldPath, ingressName, ingressWish, proxyKey } from '../plan/paths.ts'
import type { ProxyFacts } from '../systems/kubernetes-facts.ts'
import type { Answer, Probes, Target } from '../systems/probes.ts'
import type { Systems } from '../systems/systems.ts'

/** What was proven of the new path, and how: `backend` says what shows that both paths end in the same place. */
export type Proof = {
  address: string
  ms: number
  /** Absent where there is no old path. */
  oldMs?: number
  direct: boolean
  backend: 'identity' | 'run_id' | 'proxy destination' | 'ingress backend'
  deviceId: string
}

/**
 * Proves the new path from this machine, in the order in which it can fail: the device has the asked name and its pod
 * runs; the local tailscaled knows the peer; both resolvers give its address; every port speaks the protocol; old and
 * new path end in the same backend.
 *
 * `old: false` where there is no old path any more: then where the proxy forwards to says which backend it is.
 *
 * @throws OnehopError of kind proof, naming what was missing
 */
export async function provePath(
  systems: Systems,
  mesh: Mesh,
  service: ClusterService,
  { old = true }: { old?: boolean } = {},
): Promise<Proof> {
  const { proxy, address, deviceId, direct } = await proveReachable(systems, mesh, service)
  const news = await probeDevice(systems.probes, mesh, service)
  const silent = news.find((each) => !each.answer.ok)
  if (silent && !silent.answer.ok) throw silentPort(service, silent.target, silent.answer)
  const olds =
    old && hasOldPath(service)
      ? await probeAll(systems.probes, service, (each) => ({ host: 'localhost', port: each.portMap }))
      : []
  const backend = await proveBackend(systems, { service, proxy, olds, news })
  const oldMs = olds.length > 0 && { oldMs: slowest(olds) }
  return { address, direct, backend, deviceId, ms: slowest(news), ...oldMs }
}

/**
 * The first request to a name waits until its certificate is made, for a minute and more. One that gave up early would
 * begin anew each time, so this one is patient; the proofs come after it.
 *
 * @throws OnehopError of kind proof, naming what was missing
 */
export async function warmUp(systems: Systems, mesh: Mesh, service: ClusterService): Promise<void> {
  const { name } = await proveReachable(systems, mesh, service)
  const page = typeof service.probe === 'object' ? service.probe.http : '/'
  const answer = await systems.probes.https(name, page, 30_000)
  if (!answer.ok) throw silentPort(service, { host: name, port: 443 }, answer)
}

/** The device is there under its name, and this machine knows the way to it. */
async function proveReachable(systems: Systems, mesh: Mesh, service: ClusterService) {
  const name = deviceName(mesh, service)
  const device = await proveDevice(systems, mesh, service)
  const direct = await provePeer(systems, { name, tag: service.tag })
  await proveNames(systems, { name, address: device.address })
  return { ...device, name, direct }
}

/** Proves that the old path, if there is one, answers before anything is changed: else there would be nothing to go back to. */
export async function proveOldPath({ probes }: Systems, service: ClusterService): Promise<number> {
  if (!hasOldPath(service)) return 0
  const answers = await probePortMaps(probes, service)
  for (const { target, answer } of answers)
    if (!answer.ok)
      throw new OnehopError('old-path-silent', {
        path: `${target.host}:${target.port}`,
        service: service.name,
        message: answer.message,
      })
  return slowest(answers)
}

/** Every path of a service, once: the old ones (port map, and the old URL through Caddy) and the device name. */
export async function probePaths(
  { probes }: Systems,
  mesh: Mesh,
  service: ClusterService,
  { throughCaddy = true }: { throughCaddy?: boolean } = {},
): Promise<{ portMaps: Probed[]; urls: Probed[]; fresh: Probed[] }> {
  const page = typeof service.probe === 'object' ? service.probe.http : '/'
  const [portMaps, urls, fresh] = await Promise.all([
    hasOldPath(service) ? probePortMaps(probes, service) : [],
    Promise.all(
      Object.entries(throughCaddy ? service.routes : {}).map(async ([site, port]) => ({
        target: { host: site, port },
        answer: await probes.throughCaddy(site, page),
      })),
    ),
    probeDevice(probes, mesh, service),
  ])
  return { portMaps, urls, fresh }
}

/** Every port map of a service, once. */
export const probePortMaps = (probes: Probes, service: ClusterService): Promise<Probed[]> =>
  probeAll(probes, service, ({ portMap }) => ({ host: 'localhost', port: portMap }))

/** Every port of the device name, once: what any machine of the tailnet can ask. */
export async function probeDevice(probes: Probes, mesh: Mesh, service: ClusterService): Promise<Probed[]> {
  const host = deviceName(mesh, service)
  if (service.mode !== 'https') return probeAll(probes, service, ({ port }) => ({ host, port }))
  return Promise.all(
    devicePorts(service).map(async ({ port, probe: own }) => {
      const asked = own ?? service.probe
      const path = typeof asked === 'object' ? (asked.identity ?? asked.http) : '/'
      return { target: { host, port }, answer: await probes.https(host, path) }
    }),
  )
}

export type Probed = { target: Target; answer: Answer }

async function proveDevice({ kubernetes }: Systems, mesh: Mesh, service: ClusterService) {
  const proxies = await kubernetes.proxies(mesh.operator.namespace)
  const found = findDevice(mesh, service, proxies[proxyKey(service)])
  if (found instanceof OnehopError) throw found
  return found
}

/**
 * Asks the local tailscaled before the first probe: a packet sent before it knows a way to the peer starts a
 * WireGuard handshake that nobody hears, and the next try comes only after 5 s.
 */
async function provePeer(
  { tailscale }: Systems,
  { name, tag }: { name: string; tag: string },
): Promise<boolean> {
  const peer = (await tailscale.peers())[name]
  if (!peer?.reachable) throw new OnehopError('peer-unknown', { name, tag })
  return peer.direct
}

async function proveNames({ probes }: Systems, wanted: { name: string; address: string }): Promise<void> {
  const problem = namesProblem(await probes.resolve(wanted.name), wanted)
  if (problem) throw problem
}

function probeAll(
  probes: Probes,
  service: ClusterService,
  at: (port: ClusterService['ports'][number]) => Target,
): Promise<Probed[]> {
  return Promise.all(
    service.ports.map(async (each) => {
      const target = at(each)
      return { target, answer: await probe(probes, each.probe ?? service.probe, target) }
    }),
  )
}

function probe(probes: Probes, kind: ClusterService['probe'], target: Target): Promise<Answer> {
  if (kind === 'tcp') return probes.tcp(target)
  if (kind === 'redis') return probes.redis(target)
  return probes.http(target, kind.identity ?? kind.http)
}

async function proveBackend(
  { kubernetes, ingresses }: Systems,
  {
    service,
    proxy,
    olds,
    news,
  }: { service: ClusterService; proxy: ProxyFacts; olds: Probed[]; news: Probed[] },
): Promise<Proof['backend']> {
  const told = identitiesOf(service, olds, news)
  if (told) {
    if (told.old !== told.fresh)
      throw new OnehopError('backend-differs', { service: service.name, old: told.old, new: told.fresh })
    return service.probe === 'redis' ? 'run_id' : 'identity'
  }
  if (service.mode === 'https') {
    const ingress = await ingresses.read(service.namespace, ingressName(service))
    const wish = ingressWish(service)
    const found = ingress?.wish && `${ingress.wish.service}:${ingress.wish.port}`
    const wanted = `${wish.service}:${wish.port}`
    if (found === wanted) return 'ingress backend'
    throw new OnehopError('backend-differs', { service: service.name, old: wanted, new: found ?? '(none)' })
  }
  const facts = await kubernetes.service(service.namespace, service.object)
  const [destination, clusterIP] = [proxy.destination ?? '(unknown)', facts?.clusterIP ?? '(none)']
  if (destination !== clusterIP)
    throw new OnehopError('backend-differs', { service: service.name, old: clusterIP, new: destination })
  return 'proxy destination'
}

/** What the answers of both paths say of their backend; nothing where they do not name it. */
export function identitiesOf(
  { probe: asked }: ClusterService,
  olds: Probed[],
  news: Probed[],
): { old: string; fresh: string } | undefined {
  const named = asked === 'redis' || (typeof asked === 'object' && asked.identity !== undefined)
  const [old = '', fresh = ''] = [olds, news].map((all) =>
    all.flatMap(({ answer }) => (answer.ok && answer.identity ? [answer.identity] : [])).join(' '),
  )
  return named && old && fresh ? { old, fresh } : undefined
}

const slowest = (all: Probed[]) => Math.max(0, ...all.map((each) => each.answer.ms))
