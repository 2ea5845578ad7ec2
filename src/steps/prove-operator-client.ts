import { type ErrorCode, type ErrorDetails, OnehopError } from '../errors.ts'
import type { Setup } from '../setup.ts'
import { type Step, tried } from './step.ts'

/**
 * Proves, before anything is changed, what the operator's OAuth client may do: it is not onehop's own, makes login keys
 * with its tag, and may delete devices. Without the last the operator makes devices that no rollback gets rid of.
 *
 * That it may delete is inferred: it asks for a device that cannot exist to be deleted, and a client that may is told that
 * there is none (404), one that may not that it may not (403). Tailscale does not document which it looks at first.
 */
export const proveOperatorClient = (step: Step, setup: Setup) =>
  tried(step, 'operator: credentials', async () => {
    const { mesh, systems } = await setup.work()
    const { tag, credentials } = mesh.operator
    const { clientIdFile: file } = credentials
    const [own, its] = await Promise.all([systems.tailscale.clientId(), systems.operatorClient.clientId()])
    if (own === its) throw new OnehopError('operator-client-shared', { file })
    const client = systems.operatorClient
    await client.signIn().catch(refusedAs('operator-client-refused', { file }))
    await client.tryKey([tag]).catch(refusedAs('operator-key-refused', { tag }))
    await client.deleteDevice(impossibleDevice).catch(refusedAs('operator-cannot-delete'))
  })

/** Rethrows a refusal of Tailscale's as one that says what it means here; anything else as it is. */
export const refusedAs =
  (code: ErrorCode, details: ErrorDetails = {}) =>
  (thrown: unknown): never => {
    if (!(thrown instanceof OnehopError) || thrown.code !== 'tailscale-refused') throw thrown
    throw new OnehopError(code, { ...thrown.details, ...details }, { cause: thrown })
  }

/** Shaped like an id of Tailscale's, which are random: nobody is given this one. */
const impossibleDevice = 'nonehop0preflight0CNTRL'
