import { isDeepStrictEqual } from 'node:util'
import { addAccess, removeAccess, renewAccess } from '../plan/policy.ts'
import { type Access, wantedAccess } from '../plan/policy-access.ts'
import type { Piece } from '../plan/policy-text.ts'
import { wideOpen } from '../plan/policy-wide-open.ts'
import type { Systems } from '../systems/systems.ts'
import type { SharedChange } from './change-wave.ts'
import { editPolicy } from './edit-policy.ts'

/** Our entries of the policy, never the policy. `access` is what they are made from; nothing is ours before the change. */
export type AllowState = {
  access: Access | null
  added: Piece[]
  /** Whether everything reached everything when this was written: a rule for all that comes later is drift. */
  wide?: boolean
}

/** Lets those reach the services who are allowed to by mesh.yaml. */
export const allowService: SharedChange<AllowState> & Undo & Again = {
  id: 'allow',

  /** Nothing, where the policy has all of it already, or mesh.yaml leaves the policy alone. @throws OnehopError policy-* */
  async read({ mesh, systems: { tailscale } }, service) {
    if (service.allow.length === 0) return undefined
    const [{ text }, devices] = await Promise.all([tailscale.policy(), tailscale.devices()])
    const access = wantedAccess(mesh, service, devices)
    if (!access) return undefined
    const { added } = addAccess(text, access)
    const wide = wideOpen(text).length > 0
    return added.length > 0
      ? { before: { access: null, added: [] }, target: { access, added, wide } }
      : undefined
  },

  extended(earlier, { added }) {
    const more = added.filter((piece) => !earlier.added.some((each) => isDeepStrictEqual(each, piece)))
    return more.length > 0 ? { ...earlier, added: [...earlier.added, ...more] } : undefined
  },

  /** Inserts what is missing, for all services in one edit. Idempotent. @throws OnehopError policy-* */
  write: ({ tailscale }, pairs) =>
    editPolicy(tailscale, (text) =>
      pairs.reduce((now, { target: { access } }) => (access ? addAccess(now, access).text : now), text),
    ),

  /** Takes out what was inserted. Idempotent. @throws OnehopError policy-* */
  undo: ({ tailscale }, targets, force) =>
    editPolicy(tailscale, (text) =>
      targets.reduce((now, { added }) => removeAccess(now, added, { force }).text, text),
    ),

  async renewed({ tailscale }, target) {
    const { access, added } = target
    if (!access) return target
    return { ...target, added: renewAccess((await tailscale.policy()).text, access, added).added }
  },

  writeAgain: ({ tailscale }, { access, added }) =>
    editPolicy(tailscale, (text) => (access ? renewAccess(text, access, added).text : text)),
}

type Again = {
  /** The record with what would be written now, before it is: an undo takes out both. */
  renewed(systems: Systems, target: AllowState): Promise<AllowState>
  /** Writes our entries anew, in place of what somebody has made of them. @throws OnehopError policy-* */
  writeAgain(systems: Systems, target: AllowState): Promise<void>
}

type Undo = { undo(systems: Systems, targets: AllowState[], force: boolean): Promise<void> }
