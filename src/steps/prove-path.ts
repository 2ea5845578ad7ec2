import { OnehopError } from '../errors.ts'
import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { deviceName } from '../plan/paths.ts'
import type { ProxyFacts } from '../systems/kubernetes.ts'
import type { Answer, Probes, Target } from '../systems/probes.ts'
import { magicDns } from '../systems/probes.ts'
import type { Systems } from '../systems/systems.ts'

/** What was proven of the new path, and how: `backend` says what shows that both paths end in the same place. */
export type Proof = {
  address: string
  ms: number
  oldMs: number
  direct: boolean
  backend: 'identity' | 'run_id' | 'proxy destination'
  deviceId: string
}

/**
 * Proves the new path from this machine, in the order in which it can fail: the device has the asked name and its pod
 * runs; the local tailscaled knows the peer; both resolvers give its address; every port speaks the protocol; old and
 * new path end in the same backend.
 *
 * @throws OnehopError of kind proof, naming what was missing
 */
export async function provePath(systems: Systems, mesh: Mesh, service: ClusterService): Promise<Proof> {
  const name = deviceName(mesh, service)
  const { proxy, address, deviceId } = await proveDevice(systems, mesh, service)
  const direct = await provePeer(systems, { name, tag: service.tag })
  await proveNames(systems, { name, address })
  const news = await probeAll(systems.probes, service, (each) => ({ host: name, port: each.port }))
  const silent = news.find((each) => !each.answer.ok)
  if (silent && !silent.answer.ok) throw silentPort(service, silent.target, silent.answer)
  const olds = await probeAll(systems.probes, service, (each) => ({ host: 'localhost', port: each.portMap }))
  const backend = await proveBackend(systems, { service, proxy, olds, news })
  return { address, direct, backend, deviceId, ms: slowest(news), oldMs: slowest(olds) }
}

/** Proves that the old path answers before anything is changed: else there would be nothing to go back to. */
export async function proveOldPath({ probes }: Systems, service: ClusterService): Promise<number> {
  const answers = await probeAll(probes, service, (each) => ({ host: 'localhost', port: each.portMap }))
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
): Promise<{ old: Probed[]; fresh: Probed[] }> {
  const name = deviceName(mesh, service)
  const page = typeof service.probe === 'object' ? service.probe.http : '/'
  const [portMaps, urls, fresh] = await Promise.all([
    probeAll(probes, service, (each) => ({ host: 'localhost', port: each.portMap })),
    Promise.all(
      Object.entries(service.routes).map(async ([site, port]) => ({
        target: { host: site, port },
        answer: await probes.throughCaddy(site, page),
      })),
    ),
    probeAll(probes, service, (each) => ({ host: name, port: each.port })),
  ])
  return { old: [...portMaps, ...urls], fresh }
}

export type Probed = { target: Target; answer: Answer }

async function proveDevice({ kubernetes }: Systems, { operator, tailnet }: Mesh, service: ClusterService) {
  const { name, object, hostname } = service
  const namespace = operator.namespace
  const proxy: ProxyFacts | undefined = (await kubernetes.proxies(namespace))[service.service]
  if (proxy?.trouble)
    throw new OnehopError('proxy-pod-stuck', { service: name, object, namespace, message: proxy.trouble })
  const { fqdn, deviceId, current } = proxy ?? {}
  const [address] = proxy?.addresses ?? []
  if (!proxy || !fqdn || !deviceId || !address || !current) {
    const message = proxy
      ? fqdn
        ? 'its pod has just been replaced'
        : 'it has not logged in yet'
      : 'the operator has not made it yet'
    throw new OnehopError('device-not-ready', {
      service: name,
      object,
      namespace,
      message,
    })
  }
  // Control hands out another name when the asked one is held; the operator does not mind.
  if (fqdn !== `${hostname}.${tailnet}`)
    throw new OnehopError('name-not-given', { found: fqdn, hostname, service: name })
  return { proxy, address, deviceId }
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

async function proveNames(
  { probes }: Systems,
  { name, address }: { name: string; address: string },
): Promise<void> {
  const found = await probes.resolve(name)
  for (const [resolver, answer] of [
    [`MagicDNS (${magicDns})`, found.magicDns],
    ['the system resolver', found.system],
  ] as const)
    if (typeof answer === 'string' || !answer.includes(address))
      throw new OnehopError('dns-wrong', {
        resolver,
        name,
        expected: address,
        found: typeof answer === 'string' ? answer : answer.join(' '),
      })
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

function silentPort(
  service: ClusterService,
  { host: name, port }: Target,
  answer: Extract<Answer, { ok: false }>,
): OnehopError {
  const { message } = answer
  if (answer.refused || /no answer|EHOSTUNREACH|ETIMEDOUT/.test(message))
    return new OnehopError('port-silent', { name, port, message, tag: service.tag })
  const asked = service.ports.find((each) => each.port === port)?.probe ?? service.probe
  const protocol = typeof asked === 'string' ? asked : 'http'
  return new OnehopError('protocol-wrong', { name, port, message, protocol, service: service.name })
}

async function proveBackend(
  { kubernetes }: Systems,
  {
    service,
    proxy,
    olds,
    news,
  }: { service: ClusterService; proxy: ProxyFacts; olds: Probed[]; news: Probed[] },
): Promise<Proof['backend']> {
  const identities = (all: Probed[]) =>
    all.flatMap(({ answer }) => (answer.ok && answer.identity ? [answer.identity] : []))
  const named =
    service.probe === 'redis' || (typeof service.probe === 'object' && service.probe.identity !== undefined)
  const [old, fresh] = [identities(olds).join(' '), identities(news).join(' ')]
  if (named && old && fresh) {
    if (old !== fresh) throw new OnehopError('backend-differs', { service: service.name, old, new: fresh })
    return service.probe === 'redis' ? 'run_id' : 'identity'
  }
  const facts = await kubernetes.service(service.namespace, service.object)
  const [destination, clusterIP] = [proxy.destination ?? '(unknown)', facts?.clusterIP ?? '(none)']
  if (destination !== clusterIP)
    throw new OnehopError('backend-differs', { service: service.name, old: clusterIP, new: destination })
  return 'proxy destination'
}

const slowest = (all: Probed[]) => Math.max(...all.map((each) => each.answer.ms))
