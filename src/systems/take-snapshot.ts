import { type Failure, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import type { Mesh } from '../plan/mesh.ts'
import type { Snapshot } from '../plan/snapshot.ts'
import type { Systems } from './systems.ts'

/** Reads the cluster, the tailnet and Caddy, side by side. Writes nothing; what cannot be read becomes a failure in the result. */
export async function takeSnapshot({
  mesh,
  systems,
  journal,
}: {
  mesh: Mesh
  systems: Systems
  journal: Journal
}): Promise<Snapshot> {
  const failures: Failure[] = []
  const part = <T>(read: () => Promise<T>): Promise<T | undefined> =>
    read().catch((thrown: unknown) => {
      failures.push(toOnehopError(thrown).toJSON())
      return undefined
    })
  const [cluster, tailnet, caddy] = await Promise.all([
    part(() => readCluster(mesh, systems)),
    part(() => readTailnet(systems)),
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

async function readCluster(
  { operator: { namespace, proxyClass } }: Mesh,
  { kubernetes }: Systems,
): Promise<NonNullable<Snapshot['cluster']>> {
  const [id, services, namespaces, readyPorts, proxies, operator] = await Promise.all([
    kubernetes.clusterId(),
    kubernetes.services(),
    kubernetes.namespaces(),
    kubernetes.readyPorts(),
    kubernetes.proxies(namespace),
    kubernetes.operator(namespace),
  ])
  // The kind exists only once the operator's chart is in.
  const proxyClassReady = operator ? await kubernetes.proxyClassReady(proxyClass) : undefined
  return {
    id,
    services,
    namespaces,
    readyPorts,
    proxies,
    ...(operator && { operator }),
    ...(proxyClassReady !== undefined && { proxyClassReady }),
  }
}

async function readTailnet({ tailscale, probes }: Systems): Promise<NonNullable<Snapshot['tailnet']>> {
  const [devices, tagOwners, peers] = await Promise.all([
    tailscale.devices(),
    tailscale.tagOwners(),
    tailscale.peers(),
  ])
  const [name, peer] = Object.entries(peers)[0] ?? []
  const dns = name && peer ? { name, expected: peer.addresses, ...(await probes.resolve(name)) } : undefined
  return { devices, tagOwners, peers, ...(dns && { dns }) }
}

async function readCaddy({ caddy }: Systems): Promise<NonNullable<Snapshot['caddy']>> {
  const [version, { text }] = await Promise.all([caddy.version(), caddy.readFile()])
  const [adapted, running] = await Promise.all([caddy.adapt(text), caddy.running()])
  return { version, text, adapted, running }
}
