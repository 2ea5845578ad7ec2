import { OnehopError } from '../errors.ts'
import type { Systems } from '../systems/systems.ts'
import type { ExposeState } from './annotate-service.ts'

/**
 * Proves that an exposure is gone: annotations as before, the operator's finalizer and Secret gone, and so the device.
 * The operator deletes the device before the Secret, so that a leftover Secret means a leftover device.
 *
 * @throws OnehopError undo-incomplete
 */
export async function proveWithdrawn(
  systems: Systems,
  { before, operatorNamespace, service, deviceId }: Withdrawn,
): Promise<void> {
  const exposedBefore = before.annotations['tailscale.com/expose']?.value === 'true'
  const facts = await systems.kubernetes.service(before.namespace, before.name)
  const object = `${before.namespace}/${before.name}`
  // A Service that was deleted takes its exposure with it.
  if (!facts || exposedBefore) return
  const incomplete = (what: string, message: string) =>
    new OnehopError('undo-incomplete', { what, message, service })
  if (facts.finalizers.includes('tailscale.com/finalizer'))
    throw incomplete(`Service ${object}`, 'the operator has not removed its finalizer; is it running?')
  const proxies = await systems.kubernetes.proxies(operatorNamespace)
  if (proxies[object]) throw incomplete(`the proxy of ${object}`, 'its Secret is still there')
  const device = deviceId && (await systems.tailscale.devices()).find((each) => each.id === deviceId)
  if (device) throw incomplete(`device ${device.name}`, 'it is still on the tailnet')
}

type Withdrawn = {
  before: ExposeState
  operatorNamespace: string
  service: string
  deviceId: string | undefined
}
