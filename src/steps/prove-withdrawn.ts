import { OnehopError } from '../errors.ts'
import type { Systems } from '../systems/systems.ts'
import { type Exposure, isIngress } from './expose-service.ts'

/**
 * Proves that an exposure is gone: annotations as before or the Ingress deleted, the operator's finalizer and Secret gone,
 * and so the device. The operator deletes the device before the Secret, so that a leftover Secret means a leftover device.
 *
 * @throws OnehopError undo-incomplete
 */
export async function proveWithdrawn(
  systems: Systems,
  { before, target, operatorNamespace, service, deviceId }: Withdrawn,
): Promise<void> {
  const incomplete = (what: string, message: string) =>
    new OnehopError('undo-incomplete', { what, message, service })
  const object = `${before.namespace}/${before.name}`
  if (isIngress(target)) {
    const found = await systems.ingresses.read(target.namespace, target.ingress?.name ?? '')
    if (found?.ours)
      throw incomplete(
        `Ingress ${found.namespace}/${found.name}`,
        'it is still there; is the operator running?',
      )
  } else {
    const exposedBefore = !isIngress(before) && before.annotations['tailscale.com/expose']?.value === 'true'
    const facts = await systems.kubernetes.service(before.namespace, before.name)
    // A Service that was deleted takes its exposure with it.
    if (!facts || exposedBefore) return
    if (facts.finalizers.includes('tailscale.com/finalizer'))
      throw incomplete(`Service ${object}`, 'the operator has not removed its finalizer; is it running?')
  }
  const proxies = await systems.kubernetes.proxies(operatorNamespace)
  if (proxies[exposedKey(target)]) throw incomplete(`the proxy of ${object}`, 'its Secret is still there')
  const { tag, hostname } = askedOf(target)
  // By its tag and name too: of a device that had not written down its id the operator knows nothing, and it would stay.
  const device = (await systems.tailscale.devices()).find(
    (each) => each.id === deviceId || (each.tags.includes(tag) && each.hostname === hostname),
  )
  if (device)
    throw incomplete(
      `device ${device.name}`,
      'it is still on the tailnet (if it stays there, delete it in the admin console)',
    )
}

/** Whether what asks the operator for a device is still there. */
export async function stillExposed(systems: Systems, target: Exposure): Promise<boolean> {
  if (isIngress(target))
    return (await systems.ingresses.read(target.namespace, target.ingress?.name ?? '')) !== undefined
  const facts = await systems.kubernetes.service(target.namespace, target.name)
  return facts?.annotations['tailscale.com/expose']?.value === 'true'
}

/** As the operator's proxies are listed. */
export const exposedKey = (target: Exposure) =>
  isIngress(target)
    ? `ingress:${target.namespace}/${target.ingress?.name ?? ''}`
    : `${target.namespace}/${target.name}`

function askedOf(target: Exposure) {
  if (isIngress(target))
    return { tag: target.ingress?.wish.tag ?? '', hostname: target.ingress?.wish.hostname }
  const asked = (key: string) => target.annotations[`tailscale.com/${key}`]?.value ?? ''
  return { tag: asked('tags'), hostname: asked('hostname') }
}

type Withdrawn = {
  before: Exposure
  target: Exposure
  operatorNamespace: string
  service: string
  deviceId: string | undefined
}
