import { type Failure, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import { isClusterService, type Mesh } from '../plan/mesh.ts'
import { tagOwnersOf } from '../plan/policy-text.ts'
import type { Snapshot } from '../plan/snapshot.ts'
import type { Systems } from './systems.ts'

/** Reads the cluster, the tailnet and Caddy, side by side. Writes nothing; what cannot be read becomes a failure in the result. */
export async function takeSnapshot({
  mesh,
  systems,
  journal,
  names = true,
}: {
  mesh: Mesh
  systems: Systems
  journal: Journal
  /** Whether this machine's resolvers are asked: the system's cannot be given up where nobody answers it. */
  names?: boolean
}): Promise<Snapshot> {
  const failures: Failure[] = []
  const part = <T>(read: () => Promise<T>): Promise<T | undefined> =>
    read().catch((thrown: unknown) => {
      failures.push(toOnehopError(thrown).toJSON())
      return undefined
    })
  const [cluster, tailnet, caddy] = await Promise.all([
    part(() => readCluster(mesh, systems)),
    part(() => readTailnet(systems, names)),
    part(() => readCaddy(systems)),
  ])
  return {
    ...(cluster && { cluster }),
    ...(tailnet && { tailnet }),
    ...(caddy && { caddy }),
    journal: await journal.list(),
    failures,
  }
}

/** Each kind is listed once. Throws kubernetes-unreachable or kubernetes-refused. */
export async function readCluster(
  { operator: { namespace, proxyClass }, services: wanted }: Mesh,
  systems: Pick<Systems, 'kubernetes' | 'ingresses'>,
): Promise<NonNullable<Snapshot['cluster']>> {
  const { kubernetes } = systems
  const withIngress = wanted.some((each) => isClusterService(each) && each.mode === 'https')
  // What grows with the cluster comes one list after the other: side by side, their pages would be most of the memory.
  const long = async () => {
    const services = await kubernetes.services()
    const readyPorts = await kubernetes.readyPorts()
    const proxies = await kubernetes.proxies(namespace)
    return { services, readyPorts, proxies }
  }
  const [{ services, readyPorts, proxies }, id, namespaces, operator, ingresses] = await Promise.all([
    long(),
    kubernetes.clusterId(),
    kubernetes.namespaces(),
    kubernetes.operator(namespace),
    withIngress ? systems.ingresses.list() : undefined,
  ])
  // The kind exists only once the operator's chart is in.
  const proxyClassReady = operator ? await kubernetes.proxyClassReady(proxyClass) : undefined
  return {
    id,
    services,
    namespaces,
    readyPorts,
    proxies,
    ...(ingresses && { ingresses }),
    ...(operator && { operator }),
    ...(proxyClassReady !== undefined && { proxyClassReady }),
  }
}

async function readTailnet(
  { tailscale, probes }: Systems,
  names: boolean,
): Promise<NonNullable<Snapshot['tailnet']>> {
  const [devices, policy, peers] = await Promise.all([
    tailscale.devices(),
    tailscale.policy(),
    tailscale.peers(),
  ])
  const [name, peer] = Object.entries(peers)[0] ?? []
  const dns =
    names && name && peer ? { name, expected: peer.addresses, ...(await probes.resolve(name)) } : undefined
  return { devices, tagOwners: tagOwnersOf(policy.text), policy: policy.text, peers, ...(dns && { dns }) }
}

async function readCaddy({ caddy }: Systems): Promise<NonNullable<Snapshot['caddy']>> {
  const [version, { text }] = await Promise.all([caddy.version(), caddy.readFile()])
  const running = await caddy.running()
  return { version, text, running, ...(await caddy.compareFile(running)) }
}
