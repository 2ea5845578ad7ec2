import { type DriftFacts, type DriftFound, findDrift, type PathFacts, standingOf } from '../plan/drift.ts'
import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { deviceName, proxyKey } from '../plan/paths.ts'
import type { Snapshot } from '../plan/snapshot.ts'
import type { Work } from '../setup.ts'
import { readClient } from '../systems/credentials.ts'
import { inBatches } from '../systems/in-batches.ts'
import type { OperatorFacts } from '../systems/kubernetes-facts.ts'
import type { Systems } from '../systems/systems.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import { probeDevice } from './prove-path.ts'

/**
 * Looks at everything that is moved or retired: one list of each kind, and one probe of each device name. Writes nothing;
 * what cannot be read is named in the answer.
 *
 * @throws OnehopError policy-unreadable and the like, where a file of the user's cannot be understood
 */
export async function lookForDrift(work: Work): Promise<DriftFound> {
  const { mesh, systems } = work
  const until = Date.now() + lookDeadline
  const snapshot = await takeSnapshot({ ...work, names: false })
  const [paths, secret, books] = await Promise.all([
    lookAtPaths(mesh, systems, { ...snapshot, until }),
    snapshot.cluster?.operator ? lookAtSecret(mesh, systems, snapshot.cluster.operator) : ('same' as const),
    mesh.books === undefined ? undefined : systems.books.read(mesh.books).catch(() => undefined),
  ])
  const facts: DriftFacts = { mesh, snapshot, paths, secret, books }
  return findDrift(facts)
}

/** Milliseconds after which no path is asked any more: a silent one takes some seconds by itself. */
const lookDeadline = 22_000

/**
 * What is not well is asked again, all of it at once: a pod that restarts, or a way that changes from relay to direct, is
 * silent for some seconds and no drift. That there is no such name counts at once.
 */
async function lookAtPaths(
  mesh: Mesh,
  systems: Systems,
  { journal, cluster, until }: Snapshot & { until: number },
) {
  const paths: Record<string, PathFacts> = {}
  const look = (services: ClusterService[]) =>
    inBatches(
      services,
      async (service) => {
        paths[service.name] = await lookAtPath(mesh, systems, service)
      },
      {
        milliseconds: until - Date.now(),
        late: ({ name }) => {
          paths[name] ??= { magicDns: 'it was not asked: too many before it were silent', silent: [] }
        },
      },
    )
  const services = standingOf(mesh, journal).map((each) => each.service)
  await look(services)
  for (const pause of [1000, 3000]) {
    const unwell = services.filter((each) => {
      const [address] = cluster?.proxies[proxyKey(each)]?.addresses ?? []
      return !isWell(paths[each.name], address)
    })
    if (unwell.length === 0 || Date.now() + pause > until) break
    await new Promise((resolve) => setTimeout(resolve, pause))
    await look(unwell)
  }
  return paths
}

function isWell(path: PathFacts | undefined, address: string | undefined): boolean {
  if (typeof path?.magicDns === 'string') return false
  const { magicDns = [], silent = [] } = path ?? {}
  const isElsewhere = magicDns.length > 0 && address !== undefined && !magicDns.includes(address)
  return silent.length === 0 && !isElsewhere
}

/** MagicDNS alone is asked for the name: the system's look-up cannot be given up where nobody answers it. */
async function lookAtPath(mesh: Mesh, { probes }: Systems, service: ClusterService): Promise<PathFacts> {
  const magicDns = await probes.magicDns(deviceName(mesh, service))
  // Without an address there is nothing to dial, and it is the name that is told.
  if (typeof magicDns === 'string' || magicDns.length === 0) return { magicDns, silent: [] }
  const answers = await probeDevice(probes, mesh, service)
  return {
    magicDns,
    silent: answers.flatMap(({ target, answer }) =>
      answer.ok ? [] : [{ name: target.host, port: target.port, message: answer.message }],
    ),
  }
}

/**
 * Only whether they are equal leaves the place where both are known. The Secret says whose the operator is; where it is
 * gone, the ProxyClass does.
 */
async function lookAtSecret(
  { operator: { namespace, proxyClass, credentials } }: Mesh,
  { kubernetes }: Systems,
  { ours }: OperatorFacts,
): Promise<DriftFacts['secret']> {
  try {
    const state = await kubernetes.oauthSecretState(namespace, await readClient(credentials))
    if (ours) return state
    return state === 'gone' && (await kubernetes.isOurProxyClass(proxyClass)) ? 'gone' : 'other'
  } catch {
    return undefined
  }
}
