import { fromFailure, OnehopError } from '../errors.ts'
import { isLost } from '../journal-records.ts'
import type { Mesh } from '../plan/mesh.ts'
import { operatorWork, preflightMesh } from '../plan/preflight.ts'
import type { Snapshot } from '../plan/snapshot.ts'
import type { Setup } from '../setup.ts'
import { readClient } from '../systems/credentials.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import { awaited, type Outcome, type Step, tried } from './step.ts'

/** What there is to do about the operator; a failure stands in the way of all of it. */
export function lookAtOperator(step: Step, setup: Setup) {
  return tried(step, 'operator: look', async () => {
    const work = await setup.work()
    const removal = (await work.journal.listRequests()).find(
      (each) => each.event === 'mesh/operator.remove.requested' && each.state === 'running' && !isLost(each),
    )
    if (removal)
      throw new OnehopError('request-in-progress', {
        service: 'the operator',
        request: removal.id,
        attempt: removal.phase ?? 'begun',
      })
    const snapshot = await takeSnapshot(work)
    const seconds = work.mesh.deadlines.operator
    const unread = unreadOf(snapshot)
    const { cluster } = snapshot
    // Whether an operator is there is not known: an installation could write over somebody's.
    if (unread || !cluster)
      return { work: 'none' as const, ours: false, seconds, failure: unread ?? notRead(work.mesh) }
    const [problem] = preflightMesh(work.mesh, snapshot).filter((each) =>
      /^(cluster|operator|namespace)-/.test(each.code),
    )
    return {
      work: operatorWork(work.mesh, cluster),
      // One that is still to be installed will be.
      ours: cluster.operator?.ours ?? true,
      seconds,
      ...(problem && { failure: problem }),
    }
  })
}

/** What could not be read of all that the operator hangs on, which is everything but Caddy. */
const unreadOf = ({ failures }: Snapshot) =>
  failures.find(({ parts }) => parts.some((part) => part !== 'caddy'))

const notRead = ({ kubernetes: { context } }: Mesh) =>
  new OnehopError('kubernetes-unreachable', { context, message: 'it was not read' }).toJSON()

/** Applies each part of the installation, in order; the first failure ends it. */
export async function applyOperator(step: Step, setup: Setup): Promise<Outcome<void>> {
  for (const [part, apply] of Object.entries(parts)) {
    // The ProxyClass is refused until the API server has taken in its kind, a moment after Helm has applied it.
    // One at a time, also across runs: Helm refuses a second one, and leaves its release locked when it is killed.
    const alone = async () => (await setup.journal()).exclusively('operator', () => apply(setup))
    const applied = await (part === 'proxy-class'
      ? awaited(step, `operator/${part}: apply`, { seconds: 30, patient: true, look: alone })
      : tried(step, `operator/${part}: apply`, alone))
    if (!applied.ok) return applied
  }
  return { ok: true, value: undefined }
}

/** Waits until the operator has joined the tailnet. */
export const awaitOperator = (step: Step, setup: Setup, seconds: number): Promise<Outcome<void>> =>
  awaited(step, 'operator: prove', { seconds, patient: true, look: () => proveOperator(setup) })

const parts = {
  namespace: async (setup: Setup) => {
    const { mesh, systems } = await setup.work()
    await systems.kubernetes.applyNamespace(mesh.operator.namespace)
  },
  secret: writeSecret,
  helm: async (setup: Setup) => {
    const { mesh, systems } = await setup.work()
    await systems.helm.upgradeInstall({ ...mesh.operator, values: helmValues(mesh) })
  },
  'proxy-class': async (setup: Setup) => {
    const { mesh, systems } = await setup.work()
    await systems.kubernetes.applyProxyClass(mesh.operator.proxyClass)
  },
}

/** The operator's Secret from the credential files. @throws OnehopError credentials-missing, secret-not-ours */
export async function writeSecret(setup: Setup): Promise<void> {
  const { mesh, systems } = await setup.work()
  const client = await readClient(mesh.operator.credentials)
  await systems.kubernetes.applyOAuthSecret(mesh.operator.namespace, client)
}

/** Our values under the user's own, which win. */
function helmValues({ operator }: Mesh): Record<string, unknown> {
  const ours = {
    operatorConfig: {
      hostname: operator.hostname,
      defaultTags: [operator.tag],
      tolerations: [
        { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
      ],
    },
    proxyConfig: { defaultProxyClass: operator.proxyClass },
  }
  return merge(ours, operator.values)
}

function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const plain = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const earlier = merged[key]
    merged[key] = plain(earlier) && plain(value) ? merge(earlier, value) : value
  }
  return merged
}

/** Ready is not enough: an operator without DNS is Running and Ready, and deaf. Its device must be on the tailnet. */
async function proveOperator(setup: Setup): Promise<void> {
  const work = await setup.work()
  const snapshot = await takeSnapshot(work)
  const [failure] = [
    ...[unreadOf(snapshot) ?? []].flat(),
    ...preflightMesh(work.mesh, snapshot).filter((each) => each.code.startsWith('operator')),
  ]
  if (failure) throw fromFailure(failure)
  if (!snapshot.cluster || operatorWork(work.mesh, snapshot.cluster) !== 'none')
    throw new OnehopError('operator-down', {
      namespace: work.mesh.operator.namespace,
      message: 'its ProxyClass is not ready yet',
    })
}
