import { OnehopError } from '../errors.ts'
import type { ChangeRecord, Entry } from '../journal-records.ts'
import { type Drift, driftId, type Mend } from '../plan/drift-kinds.ts'
import { standingChange } from '../plan/states.ts'
import type { Setup, Work } from '../setup.ts'
import { type AllowState, allowService } from './allow-service.ts'
import { type Exposure, writeExposure } from './expose-service.ts'
import { writeSecret } from './operator-parts.ts'
import { proveWithdrawn, stillExposed } from './prove-withdrawn.ts'
import { type RemovalState, removeCaddyRoute } from './remove-caddy-route.ts'
import { setServiceType, type TypeState } from './set-service-type.ts'
import { awaited, type Outcome, type Step, tried } from './step.ts'
import { type SwitchState, switchCaddyRoutes } from './switch-caddy-routes.ts'

/** Which change of the journal a repair writes again. */
export const changeOf = (mend: Mend | undefined): ChangeRecord['id'] | undefined =>
  mend?.startsWith('again:') ? (mend.slice('again:'.length) as ChangeRecord['id']) : undefined

/**
 * Writes one change of a service again, as its record says, under the service's lock and the attempt's number. It takes
 * the place of what somebody else has put there, and of nothing beside it.
 */
export function writeAgain(
  step: Step,
  setup: Setup,
  { drift, request }: { drift: Drift; request: string },
): Promise<Outcome<void>> {
  const service = drift.subject
  return tried(step, `${service}/repair: ${drift.kind}`, async () => {
    const work = await setup.work()
    const id = changeOf(drift.mend)
    const entry = await work.journal.read(service)
    const change = standingChange(entry, id)
    if (!entry || !change)
      throw new OnehopError('nothing-to-undo', { service, state: entry?.state ?? 'planned' })
    const cluster = await work.systems.kubernetes.clusterId()
    if (cluster !== entry.cluster)
      throw new OnehopError('cluster-changed', { service, expected: entry.cluster, found: cluster })
    const of = { request, drift: driftId(drift) }
    await work.journal.repair(service, entry.attempt, of, (current, save) =>
      write(work, current, { change, save }),
    )
  })
}

/**
 * Where the annotation is gone, the operator is taking the device away. Written again in the midst of that, it would keep a
 * proxy whose device is deleted, and which can never log in again: so first all of it must be gone.
 */
export function awaitCleanUp(
  step: Step,
  setup: Setup,
  { kind, subject: service }: Drift,
): Promise<Outcome<void>> {
  if (kind !== 'annotation-gone') return Promise.resolve({ ok: true, value: undefined })
  return awaited(step, `${service}/repair: await clean-up`, {
    seconds: 120,
    reach: true,
    look: async () => {
      const { mesh, systems, journal } = await setup.work()
      const change = standingChange(await journal.read(service), 'expose')
      if (!change) return
      const target = change.target as Exposure
      // A person has written it again: nothing is being taken away.
      if (await stillExposed(systems, target)) return
      await proveWithdrawn(systems, {
        before: change.before as Exposure,
        target,
        operatorNamespace: mesh.operator.namespace,
        service,
        deviceId: undefined,
      })
    },
  })
}

/** The operator's Secret alone, from the credential files: without it nothing says that the operator is ours. */
export const writeSecretAgain = (step: Step, setup: Setup): Promise<Outcome<void>> =>
  tried(step, 'operator/repair: secret', () => writeSecret(setup))

type Writing = { change: ChangeRecord; save: (entry: Entry) => Promise<Entry> }

async function write({ systems }: Work, entry: Entry, { change, save }: Writing): Promise<void> {
  const { id, before, target } = change
  const { service } = entry
  const force = { undo: false, force: true, service }
  switch (id) {
    case 'expose':
      return writeExposure(systems, { from: target as Exposure, to: target as Exposure, ...force })
    case 'switch': {
      const swap = { from: before as SwitchState, to: target as SwitchState }
      await switchCaddyRoutes.write(systems, [swap], { expectRunning: false, force: true })
      return
    }
    case 'allow': {
      const renewed = await allowService.renewed(systems, target as AllowState)
      const changes = entry.changes.map((each) => (each.id === id ? { ...each, target: renewed } : each))
      await save({ ...entry, changes })
      return allowService.writeAgain(systems, renewed)
    }
    case 'type':
      return setServiceType.write(systems, { from: target as TypeState, to: target as TypeState, ...force })
    case 'route':
      await removeCaddyRoute.write(systems, [target as RemovalState])
      return
    default:
      return id satisfies never
  }
}
