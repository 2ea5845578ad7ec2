import { OnehopError } from '../src/errors.ts'
import { fieldManager, type ServiceFacts } from '../src/systems/kubernetes-facts.ts'
import type { Systems } from '../src/systems/systems.ts'
import { type Cluster, keyOf, type ServiceObject } from './cluster.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/**
 * The cluster as src/systems/kubernetes.ts sees it: a patch that names a uid or a resourceVersion is refused when the
 * object has another. `written` hears of each change, before it is told to the caller.
 */
export function createMemoryKubernetes({ effect, cluster, by, written }: Options): Systems['kubernetes'] {
  const lost = () => new OnehopError('kubernetes-unreachable', { context: 'sim', message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'kubernetes', what, lost }, work)

  const patch = (
    { namespace, name, uid, resourceVersion }: Patched,
    { what, change }: { what: string; change: (object: ServiceObject) => boolean },
  ) =>
    effect(
      by,
      {
        system: 'kubernetes',
        what: `${what} ${name}`,
        writes: true,
        lost,
        // A network that stalls delivers after minutes what its sender, dead by then, had sent.
        onTheWay: 120,
        object: cluster.objects.get(keyOf({ namespace, name })),
      },
      () => {
        const object = cluster.objects.get(keyOf({ namespace, name }))
        const refuse = (message: string) => {
          throw new OnehopError('kubernetes-conflict', { action: what, message })
        }
        if (!object) return refuse('it is gone')
        if (object.uid !== uid)
          throw new OnehopError('kubernetes-refused', {
            context: 'sim',
            action: what,
            message: 'metadata.uid is immutable (422)',
          })
        if (resourceVersion !== undefined && resourceVersion !== String(object.version))
          return refuse('the object has been modified')
        if (change(object)) written(object, what)
        return String(object.version)
      },
    )

  return {
    context: 'sim',
    clusterId: () => get('clusterId', () => 'uid-kube-system'),
    services: () => get('services', () => [...cluster.objects.values()].map(factsOf)),
    service: (namespace, name) =>
      get(`service ${name}`, () => {
        const object = cluster.objects.get(keyOf({ namespace, name }))
        return object && factsOf(object)
      }),
    readyPorts: () =>
      get('readyPorts', () =>
        Object.fromEntries(
          [...cluster.objects].map(([key, { ports }]) => [key, ports.map((each) => each.name)]),
        ),
      ),
    namespaces: () => get('namespaces', () => ({ tailscale: 'privileged', apps: '' })),
    proxies: () =>
      get('proxies', () =>
        Object.fromEntries(
          [...cluster.proxies].map(([key, { up, deviceId, fqdn }]) => {
            const address = deviceId && cluster.devices.get(deviceId)?.address
            const destination = cluster.objects.get(key)?.clusterIP
            return [
              key,
              {
                ...(fqdn && deviceId && { fqdn, deviceId }),
                ...(destination && { destination }),
                addresses: fqdn && address ? [address] : [],
                current: up,
              },
            ]
          }),
        ),
      ),
    async applyAnnotations(service, annotations) {
      const change = (object: ServiceObject) => cluster.apply(object, fieldManager, annotations)
      await patch(service, { what: 'annotate', change })
    },
    async restoreAnnotations(service, before) {
      let { resourceVersion } = service
      for (const [key, earlier] of Object.entries(before)) {
        if (!earlier) continue
        const change = (object: ServiceObject) =>
          cluster.merge(object, earlier.manager, { [key]: earlier.value })
        resourceVersion = await patch({ ...service, resourceVersion }, { what: 'restore', change })
      }
      const change = (object: ServiceObject) => cluster.apply(object, fieldManager, {})
      await patch({ ...service, resourceVersion }, { what: 'withdraw', change })
    },
    async fence({ namespace, name, uid }) {
      for (const annotations of [fenceMark(), {}]) {
        const change = (object: ServiceObject) => cluster.apply(object, fieldManager, annotations)
        await patch({ namespace, name, uid }, { what: 'fence', change })
      }
    },
    serviceType: (namespace, name) =>
      get(`serviceType ${name}`, () => {
        const object = cluster.objects.get(keyOf({ namespace, name }))
        if (!object) return undefined
        const { uid, version, type, typeOwners } = object
        const manager = typeOwners.find((each) => each !== typeManager) ?? typeOwners[0] ?? null
        const ports = portsOf(object).map((each) => ({ ...each, protocol: 'TCP' }))
        return { namespace, name, uid, resourceVersion: String(version), type, manager, ports }
      }),
    async setServiceType(service, type) {
      const change = (object: ServiceObject) => cluster.applyType(object, typeManager, type)
      await patch(service, { what: 'take type', change })
    },
    async restoreServiceType(service, { type, manager }) {
      const wanted = type === 'NodePort' ? type : 'ClusterIP'
      const back = (object: ServiceObject) => cluster.mergeType(object, manager ?? typeManager, wanted)
      let resourceVersion = await patch(service, { what: 'restore type', change: back })
      const marks = resourceVersion === service.resourceVersion ? [fenceMark(), {}] : [{}]
      for (const mark of marks) {
        const change = (object: ServiceObject) =>
          [cluster.applyType(object, typeManager), cluster.apply(object, typeManager, mark)].includes(true)
        resourceVersion = await patch({ ...service, resourceVersion }, { what: 'withdraw type', change })
      }
    },
    operator: () =>
      get('operator', () => ({ version: '1.102.4', ours: true, running: true, message: '1 replicas ready' })),
    oauthSecretState: () => get('oauthSecretState', () => 'same' as const),
    isOurProxyClass: () => get('isOurProxyClass', () => true),
    proxyClassReady: () => get('proxyClassReady', () => true),
    applyNamespace: () => get('applyNamespace', () => undefined),
    applyOAuthSecret: () => get('applyOAuthSecret', () => undefined),
    applyProxyClass: () => get('applyProxyClass', () => undefined),
  }
}

const fenceMark = (): Record<string, string> => ({ 'onehop.dev/fence': new Date().toISOString() })
const typeManager = 'onehop-retire'

/** A ClusterIP has no node ports. */
const portsOf = ({ type, ports }: ServiceObject) =>
  ports.map(({ nodePort, ...each }) => ({
    ...each,
    ...(type === 'NodePort' && { nodePort: nodePort ?? each.port }),
  }))

type Options = {
  effect: Conditions['effect']
  cluster: Cluster
  by: Process
  written: (object: ServiceObject, what: string) => void
}
type Patched = { namespace: string; name: string; uid: string; resourceVersion?: string }

function factsOf(object: ServiceObject): ServiceFacts {
  const { namespace, name, uid, version, type, clusterIP, finalizers } = object
  return {
    namespace,
    name,
    uid,
    resourceVersion: String(version),
    type,
    clusterIP,
    annotations: Object.fromEntries(
      [...object.annotations]
        .filter(([key]) => key.startsWith('tailscale.com/'))
        .map(([key, { value, owners }]) => [
          key,
          { value, manager: owners.find((each) => each !== fieldManager) ?? fieldManager },
        ]),
    ),
    finalizers: [...finalizers],
    ports: portsOf(object),
  }
}
