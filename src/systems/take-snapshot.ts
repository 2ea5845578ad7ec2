import { OnehopError, toOnehopError } from '../errors.ts'
import { inTime } from '../in-time.ts'
import type { Journal } from '../journal.ts'
import { isClusterService, type Mesh } from '../plan/mesh.ts'
import { parsePolicy } from '../plan/policy-text.ts'
import { groupBy } from '../plan/remember.ts'
import { allParts, type Part, type Snapshot, type Unread } from '../plan/snapshot.ts'
import type { Systems } from './systems.ts'

/** Reads all parts of the world, side by side. Writes nothing; what cannot be read becomes a failure in the result. */
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
  const found: Unread[] = []
  // Each call has its own deadline; this one is for their sum, so that there is an answer when all of them are slow.
  const read: Read = (part, work) =>
    inTime(20_000, work, ({ message }) => silentPart(mesh, part, message)).catch((thrown: unknown) => {
      found.push({ ...toOnehopError(thrown).toJSON(), parts: [part] })
      return undefined
    })
  const [cluster, devices, policy, tailscaled, caddy] = await Promise.all([
    read('cluster', () => readCluster(mesh, systems)),
    read('tailnet', () => systems.tailscale.devices()),
    read('policy', () => readPolicy(systems)),
    read('tailscaled', () => readTailscaled(systems, names)),
    readCaddy(systems, read),
  ])
  return {
    ...(cluster && { cluster }),
    ...(devices && { tailnet: { devices } }),
    ...(policy !== undefined && { policy }),
    ...(tailscaled && { tailscaled }),
    ...(caddy && { caddy }),
    journal: await journal.list(),
    failures: joined(found),
  }
}

/** Whoever is silent is named as the call itself would name it. */
function silentPart({ kubernetes, tailscale, caddy }: Mesh, part: Part, message: string): OnehopError {
  switch (part) {
    case 'cluster':
      return new OnehopError('kubernetes-unreachable', { context: kubernetes.context, message })
    case 'tailnet':
    case 'policy':
      return new OnehopError('tailscale-unreachable', { url: tailscale.api, message })
    case 'tailscaled':
      return new OnehopError('tailscaled-unreachable', { message })
    case 'caddy':
      return new OnehopError('caddy-unreachable', { admin: caddy.admin, message })
    default:
      return part satisfies never
  }
}

/** One failure for each reason, in the order of the parts and not in that in which they came. */
function joined(found: Unread[]): Unread[] {
  const byCode = found.toSorted((a, b) => a.code.localeCompare(b.code))
  const inOrder = allParts.flatMap((part) => byCode.filter(({ parts }) => parts.includes(part)))
  const groups = groupBy(inOrder, ({ code, message }) => `${code} ${message}`)
  return [...groups.values()].flatMap(([first, ...more]) =>
    first ? [{ ...first, parts: [...new Set([first, ...more].flatMap(({ parts }) => parts))] }] : [],
  )
}

type Read = <T>(part: Part, work: () => Promise<T>) => Promise<T | undefined>

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

/** @throws OnehopError tailscale-*, policy-unreadable */
async function readPolicy({ tailscale }: Systems): Promise<string> {
  const { text } = await tailscale.policy()
  parsePolicy(text)
  return text
}

/** @throws OnehopError tailscaled-unreachable */
async function readTailscaled(
  { tailscale, probes }: Systems,
  names: boolean,
): Promise<NonNullable<Snapshot['tailscaled']>> {
  const peers = await tailscale.peers()
  const [name, peer] = Object.entries(peers)[0] ?? []
  const dns =
    names && name && peer ? { name, expected: peer.addresses, ...(await probes.resolve(name)) } : undefined
  return { peers, ...(dns && { dns }) }
}

/** Each of its questions is asked, so that everything that is wrong is named at once. */
async function readCaddy({ caddy }: Systems, read: Read): Promise<Snapshot['caddy']> {
  const adapted = async () => {
    const [version, file] = await Promise.all([
      read('caddy', () => caddy.version()),
      read('caddy', () => caddy.readFile()),
    ])
    if (version === undefined || !file) return undefined
    const { text } = file
    const meaning = await read('caddy', async () => ({ adapted: await caddy.adapt(text) }))
    return meaning && { version, text, ...meaning }
  }
  const [file, admin] = await Promise.all([
    adapted(),
    read('caddy', async () => ({ running: await caddy.running() })),
  ])
  return file && admin && { ...file, ...admin }
}
