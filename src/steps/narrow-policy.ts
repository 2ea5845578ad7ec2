import { OnehopError, toOnehopError } from '../errors.ts'
import type { Narrowing } from '../journal-records.ts'
import { isClusterService, type Mesh } from '../plan/mesh.ts'
import { lookAtAccess } from '../plan/policy.ts'
import { type PolicyDevice, wantedAccess } from '../plan/policy-access.ts'
import { parsePolicy } from '../plan/policy-text.ts'
import { narrowWideOpen, widenAgain, wideOpen } from '../plan/policy-wide-open.ts'
import type { Setup, Work } from '../setup.ts'
import { editPolicy } from './edit-policy.ts'

/**
 * Replaces the policy's rules from `*` to `*`, so that `allow` means something: all of today's devices reach each other
 * as before, but a service with `allow` whose rule stands in the policy is reached by those alone. In the journal first, with the time until which it has
 * to be confirmed: after that the worker takes it back by itself (`takeBackUnconfirmed`), without an engine if need be.
 *
 * @throws OnehopError policy-not-wide-open, policy-narrowed-already, policy-*
 */
export async function narrowPolicy({ mesh, systems, journal }: Work, request: string): Promise<Narrowing> {
  const { tailscale } = systems
  return journal.exclusively('policy', async () => {
    const earlier = await journal.readNarrowing()
    if (earlier?.state === 'confirmed' || (earlier?.state === 'unconfirmed' && earlier.request !== request))
      throw new OnehopError('policy-narrowed-already', { state: earlier.state, until: earlier.until })
    const devices = await tailscale.devices()
    try {
      await editPolicy(tailscale, async (text) => {
        const tags = tagsWithRules(mesh, devices, text)
        const { text: narrowed, added } = narrowWideOpen(text, { devices, tags })
        if (added.length > 0) {
          const until = new Date(Date.now() + mesh.deadlines.confirm * 1000).toISOString()
          await journal.saveNarrowing({ state: 'unconfirmed', request, until, added })
          return narrowed
        }
        // It may have been written by a try whose answer was lost.
        if (earlier?.request !== request || earlier.state !== 'unconfirmed')
          throw new OnehopError('policy-not-wide-open')
        return text
      })
    } catch (thrown) {
      const { kind } = toOnehopError(thrown)
      const found = await journal.readNarrowing()
      // Refused: nothing was written. What could not be reached may have been, and is tried again, or taken back.
      if (found?.request === request && kind !== 'system')
        await journal.saveNarrowing({ ...found, state: 'widened', failure: toOnehopError(thrown).toJSON() })
      throw thrown
    }
    const record = await journal.readNarrowing()
    if (!record) throw new OnehopError('policy-not-wide-open')
    return record
  })
}

/** It stays. @throws OnehopError policy-not-narrowed, policy-not-confirmed (too late: it is being taken back) */
export async function confirmPolicy({ journal }: Pick<Work, 'journal'>): Promise<Narrowing> {
  return journal.exclusively('policy', async () => {
    const record = await journal.readNarrowing()
    if (!record || (record.state === 'widened' && !record.failure))
      throw new OnehopError('policy-not-narrowed')
    if (record.state === 'confirmed') return record
    if (record.state === 'widened' || isOverdue(record)) throw unconfirmed(record)
    const confirmed: Narrowing = { ...record, state: 'confirmed' }
    await journal.saveNarrowing(confirmed)
    return confirmed
  })
}

/**
 * The old rules again, byte for byte. What somebody has changed in ours since is refused, unless forced, or overdue: who
 * may be locked out cannot force it. While no rule from `*` to `*` is back, nothing is written and the record stays.
 *
 * @throws OnehopError policy-not-narrowed, policy-changed-by-others, policy-still-narrow, policy-*
 */
export function widenPolicy(
  { systems: { tailscale }, journal }: Pick<Work, 'systems' | 'journal'>,
  { force = false, overdue = false }: { force?: boolean; overdue?: boolean } = {},
): Promise<Narrowing> {
  return journal.exclusively('policy', async () => {
    const record = await journal.readNarrowing()
    if (!isNarrowed(record) || (overdue && !isOverdue(record))) throw new OnehopError('policy-not-narrowed')
    await editPolicy(tailscale, (text) => {
      const widened = widenAgain(text, record.added, { force: force || overdue })
      if (wideOpen(widened).length === 0) throw new OnehopError('policy-still-narrow')
      return widened
    })
    const { failure: _, ...rest } = record
    const widened: Narrowing = {
      ...rest,
      state: 'widened',
      ...(overdue && { failure: unconfirmed(record).toJSON() }),
    }
    await journal.saveNarrowing(widened)
    return widened
  })
}

/**
 * Takes back what was not confirmed in time: called by the worker at its start and every few seconds. Whether it did; what
 * keeps it from it is tried again.
 *
 * @throws OnehopError policy-*, tailscale-*
 */
export async function takeBackUnconfirmed(setup: Setup): Promise<boolean> {
  const record = await (await setup.journal()).readNarrowing()
  if (!isNarrowed(record) || !isOverdue(record)) return false
  // It may have been confirmed or taken back by another process by the time that the lock is ours.
  return widenPolicy(await setup.work(), { overdue: true }).then(
    () => true,
    (thrown: unknown) => {
      if (toOnehopError(thrown).code === 'policy-not-narrowed') return false
      throw thrown
    },
  )
}

/** Whether our rules stand in the place of the old ones. */
export const isNarrowed = (record: Narrowing | undefined): record is Narrowing =>
  record?.state === 'unconfirmed' || record?.state === 'confirmed'

/**
 * The tags of the services that their own rules reach. One whose `allow` the policy does not hold yet (it was exposed
 * before it had one) is reached as before: by nothing but the pairs.
 */
function tagsWithRules(mesh: Mesh, devices: PolicyDevice[], text: string): string[] {
  const policy = parsePolicy(text)
  const sections = ['tagOwners', 'grants', 'acls']
  return mesh.services.filter(isClusterService).flatMap((service) => {
    const isThere = devices.some(({ tags }) => tags.includes(service.tag))
    const access = isThere && wantedAccess(mesh, service, devices)
    if (!access) return []
    const { missing } = lookAtAccess(policy, access)
    return missing.some(({ at: [section = ''] }) => sections.includes(section)) ? [] : [service.tag]
  })
}

const isOverdue = ({ state, until }: Narrowing) => state === 'unconfirmed' && Date.parse(until) <= Date.now()

const unconfirmed = ({ until }: Narrowing) => new OnehopError('policy-not-confirmed', { until })
