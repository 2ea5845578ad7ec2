import { createHash } from 'node:crypto'
import { OnehopError } from '../src/errors.ts'
import {
  fieldManager,
  type ProxyFacts,
  type ServiceFacts,
  typeManager,
} from '../src/systems/kubernetes-facts.ts'
import type { Systems } from '../src/systems/systems.ts'
import { type Cluster, keyOf } from './cluster.ts'
import type { ProxyObject, ServiceObject } from './cluster-state.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/**
 * The cluster as src/systems/kubernetes.ts sees it: a patch that names a uid or a resourceVersion is refused when the
 * object has another. `written` is called after each change, before the caller has its answer.
 */
export function createMemoryKubernetes({
  effect,
  cluster,
  by,
  written = () => undefined,
  context = 'sim',
}: Options): Systems['kubernetes'] {
  const { state } = cluster
  const lost = () => new OnehopError('kubernetes-unreachable', { context, message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'kubernetes', what, lost }, work)
  const write = (what: string, work: () => void) =>
    effect(by, { system: 'kubernetes', what, lost, writes: true }, work)
  const refused = (action: string, message: string) =>
    new OnehopError('kubernetes-refused', { context, action, message })

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
        if (object.uid !== uid) throw refused(what, 'metadata.uid is immutable (422)')
        if (resourceVersion !== undefined && resourceVersion !== String(object.version))
          return refuse('the object has been modified')
        if (change(object)) written(object, what)
        return String(object.version)
      },
    )

  return {
    context,
    clusterId: () => get('clusterId', () => state.id),
    services: (only = []) =>
      get('services', () =>
        [...cluster.objects.values()]
          .filter(({ namespace }) => only.length === 0 || only.includes(namespace))
          .map(factsOf),
      ),
    service: (namespace, name) =>
      get(`service ${name}`, () => {
        const object = cluster.objects.get(keyOf({ namespace, name }))
        return object && factsOf(object)
      }),
    readyPorts: () =>
      get('readyPorts', () =>
        Object.fromEntries(
          [...cluster.objects]
            .filter(([, { down }]) => !down)
            .map(([key, { ports }]) => [key, ports.map((each) => each.name)]),
        ),
      ),
    namespaces: () =>
      get('namespaces', () =>
        Object.fromEntries([...state.namespaces].map(([name, { podSecurity }]) => [name, podSecurity])),
      ),
    proxies: (namespace) =>
      get('proxies', () =>
        Object.fromEntries(
          [...cluster.proxies]
            .filter(([, proxy]) => proxy.namespace === namespace)
            .map(([key, proxy]) => [key, proxyFacts(cluster, key, proxy)]),
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
        const ports = object.ports.map(({ name, port, protocol = 'TCP', nodePort }) => ({
          ...{ name, port, protocol },
          ...(nodePort !== undefined && { nodePort }),
        }))
        return {
          ...{ namespace, name, uid, resourceVersion: String(version), type, manager, ports },
          ...(type === 'NodePort' && { externalTrafficPolicy: 'Cluster' }),
          ...(object.helmRelease !== undefined && { helmRelease: object.helmRelease }),
        }
      }),
    async setServiceType(service, type) {
      const change = (object: ServiceObject) => cluster.applyType(object, typeManager, type)
      await patch(service, { what: 'take type', change })
    },
    async restoreServiceType(service, { type, manager, ports }) {
      const wanted = { type: type === 'NodePort' ? ('NodePort' as const) : ('ClusterIP' as const), ports }
      const back = (object: ServiceObject) => {
        expectFree(object, ports)
        return cluster.mergeType(object, manager ?? typeManager, wanted)
      }
      let resourceVersion = await patch(service, { what: 'restore type', change: back })
      const marks = resourceVersion === service.resourceVersion ? [fenceMark(), {}] : [{}]
      for (const mark of marks) {
        const change = (object: ServiceObject) =>
          [cluster.applyType(object, typeManager), cluster.apply(object, typeManager, mark)].includes(true)
        resourceVersion = await patch({ ...service, resourceVersion }, { what: 'withdraw type', change })
      }
    },
    operator: (namespace) =>
      get('operator', () => {
        const { operator } = state
        if (!operator || operator.going || operator.namespace !== namespace) return undefined
        const { version, running, trouble } = operator
        const ours = state.oauthSecrets.get(namespace)?.ours === true
        return { version, ours, running, message: trouble ?? `${running ? 1 : 0} replicas ready` }
      }),
    oauthSecretState: (namespace, client) =>
      get('oauthSecretState', () => {
        const found = state.oauthSecrets.get(namespace)
        return !found ? 'gone' : found.hash === hashOf(client) ? 'same' : 'changed'
      }),
    isOurProxyClass: (name) => get('isOurProxyClass', () => state.proxyClasses.get(name)?.ours === true),
    proxyClassReady: (name) => get('proxyClassReady', () => state.proxyClasses.get(name)?.ready),
    applyNamespace: (name) =>
      write(`apply namespace ${name}`, () => cluster.applyNamespace(name, 'privileged')),
    applyOAuthSecret: (namespace, client) =>
      write('apply OAuth Secret', () => {
        if (!state.namespaces.has(namespace))
          throw refused(
            `applying Secret ${namespace}/operator-oauth`,
            `namespaces "${namespace}" not found (404)`,
          )
        if (state.oauthSecrets.get(namespace)?.ours === false)
          throw new OnehopError('secret-not-ours', { namespace, name: 'operator-oauth' })
        cluster.applyOAuthSecret(namespace, hashOf(client))
      }),
    applyProxyClass: (name) =>
      write('apply ProxyClass', () => {
        // The kind comes with the operator's chart.
        if (state.kinds !== 'there') throw refused(`applying ProxyClass ${name}`, '404 page not found (404)')
        cluster.applyProxyClass(name)
      }),
  }

  /** @throws OnehopError nodeport-taken */
  function expectFree(object: ServiceObject, ports: Array<{ nodePort?: number }>): void {
    const wanted = ports.flatMap(({ nodePort }) => nodePort ?? [])
    for (const other of cluster.objects.values())
      for (const { nodePort } of other === object ? [] : other.ports)
        if (nodePort !== undefined && wanted.includes(nodePort))
          throw new OnehopError('nodeport-taken', {
            ...{ object: keyOf(object), nodePort, holder: keyOf(other), service: object.name },
          })
  }
}

const fenceMark = (): Record<string, string> => ({ 'onehop.dev/fence': new Date().toISOString() })

/** What is kept of an OAuth client: enough to see that it is another one. */
const hashOf = ({ id, secret }: { id: string; secret: string }) =>
  createHash('sha256').update(`${id}\n${secret}`).digest('hex')

function proxyFacts({ devices, objects }: Cluster, key: string, proxy: ProxyObject): ProxyFacts {
  const { up, deviceId, fqdn, httpsEndpoint, keySpent } = proxy
  const address = deviceId === undefined ? undefined : devices.get(deviceId)?.address
  const destination = objects.get(key)?.clusterIP
  return {
    ...(fqdn !== undefined && { fqdn }),
    ...(deviceId !== undefined && { deviceId }),
    ...(httpsEndpoint !== undefined && { httpsEndpoint }),
    ...(destination !== undefined && { destination }),
    ...(keySpent && { keySpent, trouble: 'its login key is spent; it can never log in again' }),
    addresses: fqdn !== undefined && address !== undefined ? [address] : [],
    current: up,
  }
}

type Options = {
  effect: Conditions['effect']
  cluster: Cluster
  by: Process
  written?: (object: ServiceObject, what: string) => void
  context?: string
}
type Patched = { namespace: string; name: string; uid: string; resourceVersion?: string }

function factsOf(object: ServiceObject): ServiceFacts {
  const { namespace, name, uid, version, type, clusterIP, finalizers, typeOwners, helmRelease } = object
  const owner = typeOwners.find((each) => each !== typeManager) ?? typeOwners[0]
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
    ports: object.ports.map(({ name: portName, port, nodePort, protocol }) => ({
      ...{ name: portName, port },
      ...(nodePort !== undefined && { nodePort }),
      ...(protocol !== undefined && protocol !== 'TCP' && { protocol }),
    })),
    ...(helmRelease !== undefined && { helmRelease }),
    ...(owner !== undefined && { typeManager: owner }),
  }
}
