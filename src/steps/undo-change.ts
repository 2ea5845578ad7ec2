import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import type { ChangeRecord, Entry, State } from '../journal-records.ts'
import { expectKnown, isClusterService } from '../plan/mesh.ts'
import { deviceName, hasOldPath } from '../plan/paths.ts'
import type { Setup, Work } from '../setup.ts'
import { type AllowState, allowService } from './allow-service.ts'
import { guardedTogether } from './attempt.ts'
import { type Exposure, isIngress, writeExposure } from './expose-service.ts'
import { identitiesOf, probePaths, proveOldPath } from './prove-path.ts'
import { exposedKey, proveWithdrawn, stillExposed } from './prove-withdrawn.ts'
import { refuseNoWayBack } from './refuse-no-way-back.ts'
import type { RemovalState } from './remove-caddy-route.ts'
import { type CaddyUndo, restoreCaddyRoutes } from './restore-caddy-routes.ts'
import { setServiceType, type TypeState } from './set-service-type.ts'
import { awaited, type Step, tried } from './step.ts'
import type { SwitchState } from './switch-caddy-routes.ts'

/**
 * An undo waits this long for a system that cannot be reached: a single-node cluster is away for a minute when it restarts. Where
 * a person waits for its answer, `step.patience` makes it shorter.
 */
const reach = { seconds: 120, reach: true, always: true }

/**
 * Backwards, but for the node ports: Caddy leaves the device for the port map, which must answer by then; it leaves the
 * device before the device goes, and that goes before the tag that it bears. What stands side by side is one edit of one
 * file: a route that was retired comes back with its first upstream at once, so that Caddy reloads once.
 */
export const undoOrder: ChangeRecord['id'][][] = [['type'], ['route', 'switch'], ['expose'], ['allow']]
const retirement: ChangeRecord['id'][] = ['type', 'route']

/** The services that there is something to undo of: of those named, or all that the journal knows. */
export const touchedServices = (step: Step, setup: Setup, names: string[] | undefined) =>
  tried(step, 'rollback: list', async () => {
    const [mesh, journal] = await Promise.all([setup.mesh(), setup.journal()])
    const touched = await journal.touched()
    expectKnown(mesh, touched, names)
    return touched.filter((each) => !names || names.includes(each))
  })

/** Takes the next attempt, so that nothing of the earlier one writes any more, and lists what is to be undone, last change first. */
export function beginRollback(
  step: Step,
  { setup, request, run, attempt, failure, to }: RollbackOptions,
  service: string,
) {
  return awaited(step, `${service}/rollback: begin`, {
    ...reach,
    look: async () => {
      const { mesh, systems, journal } = await setup.work()
      // All of it: an undo of what is shared reads the others' records, and must not be stopped by one half way.
      const entry = (await journal.list()).find((each) => each.service === service)
      const cluster = await systems.kubernetes.clusterId()
      if (entry && entry.state !== 'restored' && entry.cluster !== cluster)
        throw new OnehopError('cluster-changed', { service, expected: entry.cluster, found: cluster })
      const started = await journal.beginRollback(service, { request, run, attempt, failure, to })
      return {
        attempt: started?.attempt,
        seconds: mesh.deadlines.undo,
        changes: undoOrder
          .flat()
          .filter(
            (id) =>
              started?.changes.some((each) => each.id === id && !each.undone) &&
              (to !== 'moved' || retirement.includes(id)),
          ),
      }
    },
  })
}

/**
 * Begins what a rollback can do while the cluster does not answer: Caddy is led back from the device name to the port map. That the
 * kubeconfig still leads to the journal's cluster cannot be asked then, and nothing of a cluster is touched: but the port map has
 * to answer, and where both paths name their backend it has to be the same, unless forced. All else waits for the cluster: the
 * device while it is exposed, and the policy for as long as there is a device.
 *
 * @throws OnehopError undo-incomplete, saying why Caddy stays as it is; nothing is written then
 */
export function beginWithoutCluster(
  step: Step,
  { setup, request, run, failure, force = false }: RollbackOptions,
  service: string,
) {
  return tried(
    step,
    `${service}/rollback: begin with Caddy alone`,
    async () => {
      const { mesh, systems, journal } = await setup.work()
      const stays = (message: string) =>
        new OnehopError('undo-incomplete', { what: `${service} in Caddy`, message, service })
      const entry = (await journal.list()).find((each) => each.service === service)
      const standing = entry?.changes.filter((each) => !each.undone).map(({ id }) => id) ?? []
      const here = mesh.services.filter(isClusterService).find((each) => each.name === service)
      if (!entry || !standing.includes('switch'))
        throw stays(
          entry?.changes.some(({ id }) => id === 'switch') ? 'it is back already' : 'onehop has not moved it',
        )
      if (!here || !hasOldPath(here)) throw stays('mesh.yaml names no port map of it')
      // Whether its node ports are there is for the cluster to say.
      const wasRetired = Object.values(entry.ended).some(({ state }) => state === 'retired')
      if (wasRetired || standing.includes('type') || standing.includes('route'))
        throw stays('its old path was retired')
      await proveOldPath(systems, here).catch((thrown: unknown) => {
        throw stays(toOnehopError(thrown).message)
      })
      const { portMaps, fresh } = await probePaths(systems, mesh, here, { throughCaddy: false })
      const told = identitiesOf(here, portMaps, fresh)
      if (!force && told && told.old !== told.fresh)
        throw stays(`the port map leads to ${told.old}, and ${deviceName(mesh, here)} to ${told.fresh}`)
      const started = await journal.beginRollback(service, { request, run, failure })
      return { attempt: started?.attempt, seconds: mesh.deadlines.undo, changes: ['switch' as const] }
    },
    { always: true },
  )
}

export type RollbackOptions = {
  setup: Setup
  request: string
  run: string
  services: string[]
  /** The attempt that it was asked for; without it, whatever stands. Only with one service. */
  attempt?: number | undefined
  failure?: Failure | undefined
  /** Puts back also what somebody else has changed since. */
  force?: boolean | undefined
  /** Only as far as to where the old path was retired from. */
  to?: 'moved' | undefined
}

/**
 * The device that the undo of an exposure must make disappear. The operator deletes it by the id that its proxy pod has
 * written down; withdrawn between the pod's login and that moment, it would stay on the tailnet for ever and hold the name.
 * So the undo waits a little for the id. A pod that cannot start, or an operator that is away, is not waited for.
 */
export async function awaitDeviceId(
  step: Step,
  { setup, service }: { setup: Setup; service: string },
): Promise<string | undefined> {
  const found = await awaited(step, `${service}/expose: await device`, {
    seconds: 20,
    always: true,
    look: async () => {
      const { mesh, systems, journal } = await setup.work()
      const change = (await journal.read(service))?.changes.find((each) => each.id === 'expose')
      if (!change) return {}
      const target = change.target as Exposure
      const proxy = (await systems.kubernetes.proxies(mesh.operator.namespace))[exposedKey(target)]
      if (proxy?.deviceId) return { deviceId: proxy.deviceId }
      const isExposed = await stillExposed(systems, target)
      const operator = await systems.kubernetes.operator(mesh.operator.namespace)
      if (!isExposed || proxy?.trouble || !operator?.running) return {}
      throw new OnehopError('undo-incomplete', {
        what: `the device of ${service}`,
        message: 'it has not said yet which it is',
        service,
      })
    },
  })
  return found.ok ? found.value.deviceId : undefined
}

/** Takes changes of one service back, in one step: one, or those that share a file. */
export const undoChanges = (step: Step, of: Undo & { setup: Setup }) =>
  awaited(step, `${of.service}/${named(of.ids)}: undo`, { ...reach, look: () => undo(of.setup, of) })

/**
 * Takes changes of several services back in one edit, where they share a file: one reload for all of them. What fails
 * together may still be undone one by one, so this is only the first try. @returns who has no way back, and was left out
 */
export const undoTogether = (step: Step, { setup, services, force = false }: Together) =>
  awaited(step, `${services.length} services/${named(services.flatMap((each) => each.ids))}: undo`, {
    ...reach,
    look: async () => {
      const work = await setup.work()
      const left: string[] = []
      await guardedTogether(work.journal, services, async (entries) => {
        const changes: ChangeRecord[] = []
        for (const entry of entries) {
          const ids = services.find((each) => each.name === entry.service)?.ids ?? []
          if (!force && leaves(ids) && !(await hasWayBack(work, entry))) left.push(entry.service)
          else changes.push(...entry.changes.filter((each) => ids.includes(each.id)))
        }
        await undoShared(work, changes, force)
      })
      return left
    },
  })

/** Whether changes edit a file that services share. */
export const areShared = (ids: ChangeRecord['id'][]) => ids.every((id) => id !== 'expose' && id !== 'type')

/** Proves that changes are taken back, and only then writes them down as undone. */
export function proveUndone(step: Step, { setup, service, attempt, ids, deviceId, seconds }: Undoing) {
  return awaited(step, `${service}/${named(ids)}: prove undone`, {
    seconds,
    reach: true,
    always: true,
    look: async () => {
      const { mesh, systems, journal } = await setup.work()
      const [change] = (await journal.read(service))?.changes.filter((each) => ids.includes(each.id)) ?? []
      const [here] = mesh.services.filter(isClusterService).filter((each) => each.name === service)
      // A node forwards the port only a moment after the Service has it again.
      if (change?.id === 'type' && here)
        await proveOldPath(systems, here).catch((thrown: unknown) => {
          const { message } = toOnehopError(thrown)
          throw new OnehopError('undo-incomplete', { what: `the port map of ${service}`, message, service })
        })
      if (change?.id === 'expose')
        await proveWithdrawn(systems, {
          before: change.before as Exposure,
          target: change.target as Exposure,
          operatorNamespace: mesh.operator.namespace,
          service,
          deviceId,
        })
      await journal.recordUndone(service, attempt, ids)
    },
  })
}

/**
 * Waits until the journal says how the rollbacks of some attempts ended: the journal cannot miss it, as a wait for an
 * event could. One wait for all of them, or a wave's would be too many steps for one run of the engine.
 */
export async function awaitRollbacks(
  step: Step,
  setup: Setup,
  { wave, attempts }: { wave: string; attempts: Array<{ name: string; attempt: number }> },
): Promise<Record<string, State>> {
  if (attempts.length === 0) return {}
  const outcome = await awaited(step, `${wave}/rollback: await`, {
    seconds: rollbackSeconds,
    always: true,
    look: async (): Promise<Record<string, State>> => {
      const entries = await (await setup.journal()).list()
      const found = attempts.map(({ name, attempt }) => {
        const entry = entries.find((each) => each.service === name)
        if (entry && entry.attempt > attempt && entry.state !== 'rolling-back')
          return [name, entry.state] as const
        const what = `the rollback of ${name}`
        throw new OnehopError('undo-incomplete', { what, message: 'it has not ended', service: name })
      })
      return Object.fromEntries(found)
    },
  })
  return outcome.ok ? outcome.value : {}
}

/** How long a migration waits for the rollbacks that it asked for. */
export const rollbackSeconds = 600

type Undoing = Undo & { setup: Setup; deviceId: string | undefined; seconds: number }
type Undo = { service: string; attempt: number; ids: ChangeRecord['id'][]; force?: boolean | undefined }
type Together = {
  setup: Setup
  services: Array<{ name: string; attempt: number; ids: ChangeRecord['id'][] }>
  force?: boolean | undefined
}

/** Whether a service leaves its device with these. */
const leaves = (ids: ChangeRecord['id'][]) => ids.includes('switch') || ids.includes('expose')

const hasWayBack = (work: Work, entry: Entry): Promise<boolean> =>
  refuseNoWayBack(work, entry).then(
    () => true,
    (thrown: unknown) => {
      if (toOnehopError(thrown).code === 'port-map-gone') return false
      throw thrown
    },
  )

const named = (ids: ChangeRecord['id'][]) => [...new Set(ids)].join('+')

async function undo(setup: Setup, { service, attempt, ids, force = false }: Undo): Promise<void> {
  const work = await setup.work()
  const { systems, journal } = work
  await journal.guarded(service, attempt, async (entry) => {
    const changes = entry.changes.filter((each) => ids.includes(each.id))
    const [change] = changes
    if (!change) return
    if (!force && leaves(ids)) await refuseNoWayBack(work, entry)
    if (areShared(ids)) return undoShared(work, changes, force)
    const target = change.target as Exposure | TypeState
    const options = { undo: true, force, service }
    const exposed = change.id === 'expose' && {
      from: target as Exposure,
      to: change.before as Exposure,
      ...options,
    }
    // An Ingress is an object of our own: it goes also when its Service is gone.
    if (exposed && isIngress(exposed.from)) return writeExposure(systems, exposed)
    // A Service that is gone, or another of that name, holds nothing of ours.
    if ((await systems.kubernetes.service(target.namespace, target.name))?.uid !== target.uid) return
    if (exposed) return writeExposure(systems, exposed)
    const [from, to] = [change.target as TypeState, change.before as TypeState]
    return setServiceType.write(systems, { from, to, ...options })
  })
}

/** Changes of one file, of one service or several. */
async function undoShared(
  { systems, journal }: Work,
  changes: ChangeRecord[],
  force: boolean,
): Promise<void> {
  const allowed = changes.filter((each) => each.id === 'allow')
  if (allowed.length > 0)
    await allowService.undo(
      systems,
      allowed.map((each) => each.target as AllowState),
      force,
    )
  const caddy = caddyUndo(changes)
  if (caddy.removed.length + caddy.swaps.length === 0) return
  const others = (await journal.list()).filter(
    ({ state, fellBack }) => !fellBack && (state === 'rolling-back' || state === 'rollback-incomplete'),
  )
  const standing = others.flatMap((each) => each.changes).filter((each) => !each.undone)
  await restoreCaddyRoutes(systems, caddy, { force, underWay: caddyUndo(standing) })
}

const caddyUndo = (changes: ChangeRecord[]): CaddyUndo => ({
  removed: changes.filter((each) => each.id === 'route').map((each) => each.before as RemovalState),
  swaps: changes
    .filter((each) => each.id === 'switch')
    .map(({ before, target }) => ({ from: target as SwitchState, to: before as SwitchState })),
})
