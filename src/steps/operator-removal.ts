import { fromFailure, OnehopError } from '../errors.ts'
import { isLost } from '../journal-records.ts'
import { isRemoved, judgeOperatorRemoval } from '../plan/judge-operator-removal.ts'
import type { Setup, Work } from '../setup.ts'
import type { OperatorObjects } from '../systems/operator-objects.ts'
import { refusedAs } from './prove-operator-client.ts'
import { awaited, type Outcome, type Step, tried } from './step.ts'

/** Whether there is anything of ours to remove; refused while something needs it, and where it is not ours. */
export function lookAtRemoval(step: Step, { setup, request }: Removing) {
  return tried(step, 'operator/remove: look', async () => {
    const work = await setup.work()
    return { removed: isRemoved(await mayRemove(work, request)), seconds: work.mesh.deadlines.operator }
  })
}

/**
 * Removes each part, in order, and waits until it is gone; the first failure ends it. Each reads for itself what is there, so
 * that it can be run again after dying in the middle. The notes say what was left in place, and why.
 */
export async function removeOperatorParts(
  step: Step,
  { seconds, ...of }: Removing & { seconds: number },
): Promise<Outcome<string[]>> {
  const notes: string[] = []
  for (const [name, { remove, remains }] of Object.entries(parts)) {
    const removed = await tried(step, `operator/${name}: remove`, async () =>
      (await of.setup.journal()).exclusively('operator', async () => {
        const work = await of.setup.work()
        return remove(work, await mayRemove(work, of.request))
      }),
    )
    if (!removed.ok) return removed
    notes.push(...removed.value)
    if (!remains) continue
    const gone = await awaited(step, `operator/${name}: prove removed`, {
      seconds,
      reach: true,
      look: async () => {
        const work = await of.setup.work()
        const left = remains(work, await look(work), notes)
        if (left) throw new OnehopError('operator-part-remains', left)
      },
    })
    if (!gone.ok) return gone
  }
  return { ok: true, value: notes }
}

type Removing = { setup: Setup; request: string }
type Part = {
  /** What it says is for the user to know. */
  remove: (work: Work, found: OperatorObjects) => Promise<string[]>
  remains?: (
    work: Work,
    found: OperatorObjects,
    notes: string[],
  ) => { what: string; message: string } | undefined
}

/**
 * In this order: the operator itself takes its finalizer off the ProxyClass; it must have ended before its device is deleted,
 * or it would log in anew; and its OAuth Secret is the mark that all this is ours, so that a run that died here finds it.
 */
const parts: Record<string, Part> = {
  'proxy-class': {
    async remove({ mesh, systems }, { proxyClass }) {
      if (proxyClass === 'ours') await systems.operatorObjects.deleteProxyClass(mesh.operator.proxyClass)
      return []
    },
    remains: ({ mesh }, { proxyClass }) =>
      proxyClass === 'ours'
        ? {
            what: `ProxyClass ${mesh.operator.proxyClass}`,
            message: 'the operator has not removed its finalizer; is it running?',
          }
        : undefined,
  },
  helm: {
    async remove({ mesh, systems }, { secret }) {
      if (secret === 'ours') await systems.helm.uninstall(mesh.operator)
      return []
    },
    remains: ({ mesh }, { secret, running, kindsGoing }) =>
      secret === 'ours' && (running || kindsGoing)
        ? {
            what: `the operator in ${mesh.operator.namespace}`,
            message: running ? 'its pod has not ended' : 'the definitions of its kinds are still going',
          }
        : undefined,
  },
  device: { remove: removeDevice },
  secrets: {
    async remove({ mesh, systems }, { secret }) {
      if (secret === 'ours') await systems.operatorObjects.deleteSecrets(mesh.operator.namespace)
      return []
    },
  },
  namespace: {
    async remove({ mesh, systems }, { namespace }) {
      const { namespace: name } = mesh.operator
      if (namespace === 'none') return []
      if (namespace === 'other')
        return [`${kept(name)}, with its pod-security label: it was there before onehop came`]
      const contents = await systems.operatorObjects.contents(name)
      if (contents.length > 0) return [`${kept(name)}: it holds ${contents.join(', ')}`]
      await systems.operatorObjects.deleteNamespace(name)
      return []
    },
    remains: ({ mesh }, { namespace }, notes) =>
      namespace === 'ours' && !notes.some((each) => each.startsWith(kept(mesh.operator.namespace)))
        ? { what: `namespace ${mesh.operator.namespace}`, message: 'something in it has not ended' }
        : undefined,
  },
}

const kept = (namespace: string) => `namespace ${namespace} stays`

/**
 * Helm does not know the operator's own device (tailscale/tailscale#10166). Only the one that the operator has written down
 * itself is deleted, if it bears the operator's tag: by its name alone it could be another cluster's.
 */
async function removeDevice(
  { mesh, systems }: Work,
  { secret, deviceIds }: OperatorObjects,
): Promise<string[]> {
  if (secret !== 'ours') return []
  const { tag, hostname } = mesh.operator
  const devices = await systems.tailscale.devices()
  const own = devices.filter(({ id, tags }) => deviceIds.includes(id) && tags.includes(tag))
  for (const { id } of own)
    await systems.operatorClient.deleteDevice(id).catch(refusedAs('operator-cannot-delete'))
  const alike = devices.filter((each) => each.hostname === hostname && !own.includes(each))
  if (deviceIds.length > 0 || alike.length === 0) return []
  return [
    `the operator had not written down which device is its own: if it is one of ${alike.map(({ name }) => name).join(', ')}, delete it in the admin console`,
  ]
}

const look = ({ mesh, systems }: Work) => systems.operatorObjects.look(mesh.operator)

/** Asked again before each part: somebody may have exposed a Service by hand meanwhile. @throws OnehopError operator-*, request-in-progress */
async function mayRemove(work: Work, request: string): Promise<OperatorObjects> {
  const { mesh, systems, journal } = work
  const [objects, users, cluster, entries, requests] = await Promise.all([
    look(work),
    systems.operatorObjects.users(mesh.operator),
    systems.kubernetes.clusterId(),
    journal.list(),
    journal.listRequests().then((all) => all.filter((each) => !isLost(each))),
  ])
  const { namespace } = mesh.operator
  const failure = judgeOperatorRemoval({ namespace, cluster, request, objects, users, entries, requests })
  if (failure) throw fromFailure(failure)
  return objects
}
