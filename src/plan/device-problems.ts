import { OnehopError } from '../errors.ts'
import type { ProxyFacts } from '../systems/kubernetes-facts.ts'
import type { Answer, Target } from '../systems/probes.ts'
import type { ClusterService, Mesh } from './mesh.ts'
import { deviceName } from './paths.ts'

/** A service's device, by what its proxy has written down; or why it is not there under its name. */
export function findDevice(
  mesh: Mesh,
  service: ClusterService,
  proxy: ProxyFacts | undefined,
): { proxy: ProxyFacts; address: string; deviceId: string } | OnehopError {
  const { name, object, hostname } = service
  const { namespace } = mesh.operator
  if (proxy?.trouble)
    return new OnehopError('proxy-pod-stuck', { service: name, object, namespace, message: proxy.trouble })
  if (proxy?.httpsEndpoint === 'no-https')
    return new OnehopError('https-not-enabled', { service: name, tailnet: mesh.tailnet })
  const { fqdn, deviceId, current } = proxy ?? {}
  const [address] = proxy?.addresses ?? []
  if (!proxy || !fqdn || !deviceId || !address || !current) {
    const message = proxy
      ? fqdn
        ? 'its pod has just been replaced'
        : 'it has not logged in yet'
      : 'the operator has not made it yet'
    return new OnehopError('device-not-ready', { service: name, object, namespace, message })
  }
  // Control hands out another name when the asked one is held; the operator does not mind.
  if (fqdn !== deviceName(mesh, service))
    return new OnehopError('name-not-given', { found: fqdn, hostname, service: name })
  return { proxy, address, deviceId }
}

/** Why one of this machine's resolvers does not lead to a device. */
export function namesProblem(
  found: { magicDns: string[] | string; system: string[] | string },
  { name, address }: { name: string; address: string },
): OnehopError | undefined {
  for (const [resolver, answer] of [
    ['MagicDNS (100.100.100.100)', found.magicDns],
    ['the system resolver', found.system],
  ] as const)
    if (typeof answer === 'string' || !answer.includes(address))
      return new OnehopError('dns-wrong', {
        resolver,
        name,
        expected: address,
        found: typeof answer === 'string' ? answer : answer.join(' '),
      })
  return undefined
}

/** What a port that did not answer as it should is told as. */
export function silentPort(
  service: ClusterService,
  { host: name, port }: Target,
  answer: Extract<Answer, { ok: false }>,
): OnehopError {
  const { message } = answer
  if (answer.refused || /no answer|EHOSTUNREACH|ETIMEDOUT/.test(message))
    return new OnehopError('port-silent', { name, port, message, tag: service.tag })
  const asked = service.ports.find((each) => each.port === port)?.probe ?? service.probe
  const protocol = typeof asked === 'string' ? asked : 'http'
  return new OnehopError('protocol-wrong', { name, port, message, protocol, service: service.name })
}
