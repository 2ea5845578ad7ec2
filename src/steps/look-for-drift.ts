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
  const snapshot = await takeSnapshot({ ...work, names: false })
  const [paths, secret, books] = await Promise.all([
    lookAtPaths(mesh, systems, snapshot),
    snapshot.cluster?.operator ? lookAtSecret(mesh, systems, snapshot.cluster.operator) : ('same' as const),
    mesh.books === undefined ? undefined : systems.books.read(mesh.books).catch(() => undefined),
  ])
  const facts: DriftFacts = { mesh, snapshot, paths, secret, books }
  return findDrift(facts)
}

async function lookAtPaths(mesh: Mesh, systems: Systems, { journal, cluster }: Snapshot) {
  const found = await inBatches(standingOf(mesh, journal), async ({ service }) => {
    const [address] = cluster?.proxies[proxyKey(service)]?.addresses ?? []
    return [service.name, await lookAtPath(mesh, systems, { service, address })] as const
  })
  return Object.fromEntries(found)
}

type Looked = { service: ClusterService; address: string | undefined }

/** MagicDNS alone is asked for the name: the system's look-up cannot be given up where nobody answers it. */
async function lookAtPath(mesh: Mesh, { probes }: Systems, { service, address }: Looked): Promise<PathFacts> {
  const magicDns = await askedAgain(
    () => probes.magicDns(deviceName(mesh, service)),
    (answer) =>
      typeof answer !== 'string' && (address === undefined ? answer.length > 0 : answer.includes(address)),
  )
  // Without an address there is nothing to dial, and it is the name that is told.
  if (typeof magicDns === 'string' || magicDns.length === 0) return { magicDns, silent: [] }
  const answers = await askedAgain(
    () => probeDevice(probes, mesh, service),
    (all) => all.every((each) => each.answer.ok),
  )
  return {
    magicDns,
    silent: answers.flatMap(({ target, answer }) =>
      answer.ok ? [] : [{ name: target.host, port: target.port, message: answer.message }],
    ),
  }
}

/** A pod that restarts, or a way that changes from relay to direct, is silent for some seconds and no drift. */
async function askedAgain<T>(ask: () => Promise<T>, isWell: (answer: T) => boolean): Promise<T> {
  let answer = await ask()
  for (const pause of [1000, 3000]) {
    if (isWell(answer)) break
    await new Promise((resolve) => setTimeout(resolve, pause))
    answer = await ask()
  }
  return answer
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
