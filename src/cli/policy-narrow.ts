import type { Narrowing } from '../journal-records.ts'
import { createSetup } from '../setup.ts'
import { confirmPolicy, widenPolicy } from '../steps/narrow-policy.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

type Flags = { mesh: string; json?: boolean; force?: boolean }

/** onehop policy narrow: sends mesh/policy.narrow.requested; it takes itself back unless it is confirmed in time. */
export async function policyNarrow({ mesh, json }: Flags): Promise<Answer> {
  const record = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/policy.narrow.requested',
    data: {},
    quiet: Boolean(json),
  })
  const result = record.result as Pick<Narrowing, 'until' | 'added'> | null
  return {
    result,
    text: result
      ? `the policy is narrowed: today's devices reach each other as before, but a service with allow only from there; a device that joins later needs a rule of its own\nit takes itself back unless you confirm it until ${result.until}: look from where you work, then: onehop policy confirm`
      : '',
    failure: record.failure,
    next: result ? ['onehop policy confirm', 'onehop policy widen'] : ['onehop plan'],
  }
}

/** onehop policy confirm: the narrowed policy stays. Needs no engine: it may be what one has locked oneself out of. */
export async function policyConfirm({ mesh }: Flags): Promise<Answer> {
  const { state } = await confirmPolicy(await createSetup(mesh).work())
  return { result: { state }, text: 'the narrowed policy stays', next: ['onehop policy widen'] }
}

/**
 * onehop policy widen [--force]: the rules from `*` to `*` are back. Right here, and no event: whoever reaches the engine
 * can send events, and must not widen access.
 */
export async function policyWiden({ mesh, force = false }: Flags): Promise<Answer> {
  const { state } = await widenPolicy(await createSetup(mesh).work(), { force })
  return { result: { state }, text: 'the policy has its old rules again', next: ['onehop plan'] }
}
