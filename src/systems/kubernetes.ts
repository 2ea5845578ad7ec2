import {
  AppsV1Api, CoreV1Api, CustomObjectsApi, PatchStrategy, setHeaderOptions, type V1EndpointSlice, type V1Namespace, type V1Pod, type V1Secret, type V1Service, type V1StatefulSet,
} from '@kubernetes/client-node' // biome-ignore format: a list
import { OnehopError } from '../errors.ts'
import { loadConfig } from './kube-config.ts'
import { coded, orMissing } from './kubernetes-call.ts'
import {
  fieldManager,
  type OperatorFacts,
  type OwnedValue,
  type ProxyFacts,
  parentOf,
  podOf,
  podTrouble,
  proxyOf,
  type ServiceFacts,
  type ServiceType,
  type ServiceTypeFacts,
  samePort,
  secretOf,
  serviceFacts,
  serviceTypeFacts,
  typeManager,
} from './kubernetes-facts.ts'
import { listPages, RawLists } from './list-pages.ts'

/**
 * The cluster of one kubeconfig context. Lists are read once each, in pages, never per service.
 * Every function throws kubernetes-unreachable or kubernetes-refused.
 *
 * @throws OnehopError kubernetes-context-unknown
 */
export function createKubernetes({
  context,
  kubeconfig,
}: {
  context: string
  kubeconfig?: string | undefined
}) {
  const config = loadConfig(context, kubeconfig)
  const core = config.makeApiClient(CoreV1Api)
  const apps = config.makeApiClient(AppsV1Api)
  const custom = config.makeApiClient(CustomObjectsApi)
  const lists = config.makeApiClient(RawLists)
  const apply = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply)
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch)
  const call = <T>(action: string, work: Promise<T>) => coded({ context, action, work })

  return {
    context,
    /** The UID of kube-system: it names the cluster for as long as it lives, whatever the kubeconfig calls it. */
    async clusterId(): Promise<string> {
      const namespace = await call(
        'reading namespace kube-system',
        core.readNamespace({ name: 'kube-system' }),
      )
      const { uid } = namespace.metadata ?? {}
      if (uid) return uid
      throw new OnehopError('kubernetes-unreachable', { context, message: 'its kube-system has no UID' })
    },
    /** Those of all namespaces, or of the named ones. */
    async services(namespaces: string[] = []): Promise<ServiceFacts[]> {
      const list = (path: string) =>
        listPages((part) => call('listing Services', lists.page<V1Service>(path, part)), serviceFacts)
      if (namespaces.length === 0) return list('/api/v1/services')
      const paths = [...new Set(namespaces)].map(
        (each) => `/api/v1/namespaces/${encodeURIComponent(each)}/services`,
      )
      return (await Promise.all(paths.map(list))).flat()
    },
    async service(namespace: string, name: string): Promise<ServiceFacts | undefined> {
      return call(
        `reading Service ${namespace}/${name}`,
        orMissing(core.readNamespacedService({ namespace, name })),
      ).then((service) => service && serviceFacts(service))
    },
    /** Ports with a ready endpoint, by `namespace/service`: the Service's port names (empty for an unnamed one). */
    async readyPorts(): Promise<Record<string, string[]>> {
      const slices = await listPages(
        (part) =>
          call(
            'listing EndpointSlices',
            lists.page<V1EndpointSlice>('/apis/discovery.k8s.io/v1/endpointslices', part),
          ),
        // The API server sends null for an empty list.
        ({ metadata, endpoints, ports }) => ({
          owner: metadata?.labels?.['kubernetes.io/service-name'],
          namespace: metadata?.namespace ?? '',
          isReady: endpoints?.some((each) => each.conditions?.ready !== false && each.addresses.length > 0),
          ports: (ports ?? []).map((each) => each.name ?? ''),
        }),
      )
      const ready: Record<string, string[]> = {}
      for (const { owner, namespace, isReady, ports } of slices) {
        if (!owner || !isReady) continue
        const key = `${namespace}/${owner}`
        ready[key] = [...(ready[key] ?? []), ...ports]
      }
      return ready
    },
    /** The pod-security level that each namespace enforces by its label; '' where it has none. */
    async namespaces(): Promise<Record<string, string>> {
      const levels = await listPages(
        (part) => call('listing namespaces', lists.page<V1Namespace>('/api/v1/namespaces', part)),
        ({ metadata }) => [metadata?.name ?? '', metadata?.labels?.[enforceLabel] ?? ''] as const,
      )
      return Object.fromEntries(levels)
    },
    /** The operator's proxies, by `namespace/service` or `ingress:namespace/name`. Only named, harmless keys of their Secrets are read out. */
    async proxies(namespace: string): Promise<Record<string, ProxyFacts>> {
      const labelSelector = 'tailscale.com/managed=true,tailscale.com/parent-resource-type in (svc,ingress)'
      const page =
        <Raw>(group: string, kind: string) =>
        (part: Record<string, string>) =>
          call(
            `listing proxies in ${namespace}`,
            lists.page<Raw>(`${group}/namespaces/${namespace}/${kind}`, { labelSelector, ...part }),
          )
      // One after the other: side by side, their pages would be more than all the rest that a plan remembers.
      const secrets = await listPages(
        page<V1Secret>('/api/v1', 'secrets'),
        (secret) => [parentOf(secret.metadata), secretOf(secret)] as const,
      )
      const pods = await listPages(
        page<V1Pod>('/api/v1', 'pods'),
        (pod) => [parentOf(pod.metadata), podOf(pod)] as const,
      )
      const sets = await listPages(
        page<V1StatefulSet>('/apis/apps/v1', 'statefulsets'),
        ({ metadata, spec }) =>
          [parentOf(metadata), spec?.template.metadata?.annotations?.[clusterIpAnnotation]] as const,
      )
      // Of several, the first of the list.
      const [podBy, destinationBy] = [new Map(pods.toReversed()), new Map(sets.toReversed())]
      const proxies: Record<string, ProxyFacts> = {}
      for (const [owner, secret] of secrets)
        proxies[owner] = proxyOf(secret, podBy.get(owner), destinationBy.get(owner))
      return proxies
    },
    /** Sets annotations on exactly the object that was read: a later edit or another object of that name is a conflict. */
    async applyAnnotations(service: ServiceFacts, annotations: Record<string, string>): Promise<void> {
      const { namespace, name, uid, resourceVersion } = service
      const body = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace, uid, resourceVersion, annotations },
      }
      await call(
        `annotating Service ${namespace}/${name}`,
        core.patchNamespacedService({ namespace, name, body, fieldManager, force: true }, apply),
      )
    },
    /**
     * Puts earlier values back under the manager that owned them, then withdraws ours. Withdrawal alone would leave
     * the field's default, not the earlier value.
     */
    async restoreAnnotations(
      service: ServiceFacts,
      before: Record<string, OwnedValue | null>,
    ): Promise<void> {
      const { namespace, name, uid } = service
      let { resourceVersion } = service
      for (const [key, earlier] of Object.entries(before)) {
        if (!earlier) continue
        const body = { metadata: { uid, resourceVersion, annotations: { [key]: earlier.value } } }
        const written = await call(
          `restoring ${key} on Service ${namespace}/${name}`,
          core.patchNamespacedService({ namespace, name, body, fieldManager: earlier.manager }, merge),
        )
        resourceVersion = written.metadata?.resourceVersion ?? resourceVersion
      }
      const body = { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, uid, resourceVersion } }
      await call(
        `withdrawing from Service ${namespace}/${name}`,
        core.patchNamespacedService({ namespace, name, body, fieldManager, force: true }, apply),
      )
    },
    /** Gives the object another version and leaves it as it is: a write made for the version before will be refused. */
    async fence({ namespace, name, uid }: ServiceFacts): Promise<void> {
      // Withdrawn without the key: an apply of empty annotations would leave us as an owner of the Service for ever.
      for (const mark of [fenceMark(), {}]) {
        const body = { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, uid, ...mark } }
        await call(
          `fencing Service ${namespace}/${name}`,
          core.patchNamespacedService({ namespace, name, body, fieldManager, force: true }, apply),
        )
      }
    },
    /** A Service's type, with what hangs on it and who owns it. */
    async serviceType(namespace: string, name: string): Promise<ServiceTypeFacts | undefined> {
      const service = await call(
        `reading Service ${namespace}/${name}`,
        orMissing(core.readNamespacedService({ namespace, name })),
      )
      return service && serviceTypeFacts(service)
    },
    /**
     * Takes the type, as a field manager of its own: in one set with the annotations, applying this would withdraw those.
     * The API server drops the nodePorts with it.
     */
    async setServiceType(service: ServiceTypeFacts, type: 'ClusterIP'): Promise<void> {
      const { namespace, name, uid, resourceVersion } = service
      const metadata = { name, namespace, uid, resourceVersion }
      const body = { apiVersion: 'v1', kind: 'Service', metadata, spec: { type } }
      await call(
        `making Service ${namespace}/${name} a ${type}`,
        core.patchNamespacedService({ namespace, name, body, fieldManager: typeManager, force: true }, apply),
      )
    },
    /**
     * Puts the earlier type and nodePorts back under the manager that owned the type, in one patch (a ClusterIP may have
     * no nodePort), then withdraws ours: withdrawal alone would leave the default.
     *
     * @throws OnehopError nodeport-taken, naming the Service that has the number now
     */
    async restoreServiceType(service: ServiceTypeFacts, before: ServiceType): Promise<void> {
      const { namespace, name, uid } = service
      const object = `${namespace}/${name}`
      const raw = await call(`reading Service ${object}`, core.readNamespacedService({ namespace, name }))
      // A merge patch replaces the list of ports as a whole, so all their other fields are sent back as they are.
      const ports = raw.spec?.ports?.map((each) => {
        const { nodePort } = before.ports.find((port) => samePort(port, each)) ?? {}
        return nodePort === undefined ? each : { ...each, nodePort }
      })
      const { type, externalTrafficPolicy } = before
      const spec = { type, ...(externalTrafficPolicy !== undefined && { externalTrafficPolicy }), ports }
      const body = { metadata: { uid, resourceVersion: service.resourceVersion }, spec }
      const written = await call(
        `making Service ${object} a ${type} again`,
        core.patchNamespacedService(
          { namespace, name, body, fieldManager: before.manager ?? typeManager },
          merge,
        ),
      ).catch(async (thrown: unknown) => {
        throw (await nodePortTaken(thrown)) ?? thrown
      })
      // Where it was there already nothing was written, and an apply of ours that is still on its way would find its version.
      let { resourceVersion } = written.metadata ?? {}
      const marks = resourceVersion === service.resourceVersion ? [fenceMark(), {}] : [{}]
      for (const mark of marks) {
        const metadata = { name, namespace, uid, resourceVersion, ...mark }
        const body = { apiVersion: 'v1', kind: 'Service', metadata }
        const withdrawn = await call(
          `withdrawing from Service ${object}`,
          core.patchNamespacedService(
            { namespace, name, body, fieldManager: typeManager, force: true },
            apply,
          ),
        )
        resourceVersion = withdrawn.metadata?.resourceVersion
      }

      async function nodePortTaken(thrown: unknown): Promise<OnehopError | undefined> {
        if (!(thrown instanceof OnehopError) || !thrown.message.includes('port is already allocated'))
          return undefined
        const wanted = before.ports.flatMap(({ nodePort }) => nodePort ?? [])
        const { items } = await call('listing Services', core.listServiceForAllNamespaces())
        for (const { metadata: other, spec: its } of items)
          for (const { nodePort } of its?.ports ?? [])
            if (nodePort !== undefined && wanted.includes(nodePort) && other?.uid !== uid) {
              const holder = `${other?.namespace ?? ''}/${other?.name ?? ''}`
              return new OnehopError(
                'nodeport-taken',
                { object, nodePort, holder, service: name },
                { cause: thrown },
              )
            }
        return undefined
      }
    },
    /** What is known of the operator in a namespace; `undefined` if there is no Deployment of it. */
    async operator(namespace: string): Promise<OperatorFacts | undefined> {
      const [deployments, pods, secret] = await call(
        `reading the operator in ${namespace}`,
        Promise.all([
          apps.listNamespacedDeployment({ namespace }),
          core.listNamespacedPod({ namespace, labelSelector: 'app=operator' }),
          orMissing(core.readNamespacedSecret({ namespace, name: oauthSecret })),
        ]),
      )
      const deployment = deployments.items.find((each) => each.metadata?.name === 'operator')
      if (!deployment) return undefined
      const ready = deployment.status?.readyReplicas ?? 0
      const current = deployment.status?.observedGeneration === deployment.metadata?.generation
      return {
        version:
          deployment.spec?.template.spec?.containers[0]?.image?.split(':').at(-1)?.replace(/^v/, '') ??
          'unknown',
        ours: secret?.metadata?.labels?.[managedBy] === fieldManager,
        running: ready > 0 && current && (deployment.status?.updatedReplicas ?? 0) > 0,
        message:
          pods.items.map(podTrouble).find(Boolean) ??
          (deployment.spec?.replicas === 0 ? 'scaled to 0' : `${ready} replicas ready`),
      }
    },
    /**
     * Makes the operator's namespace and lets it admit privileged pods: without the label Talos refuses every proxy. One that
     * was not there before is marked as ours, and stays so: only that one goes again with the operator.
     */
    async applyNamespace(name: string): Promise<void> {
      const there = await call(`reading namespace ${name}`, orMissing(core.readNamespace({ name })))
      const ours = !there || there.metadata?.labels?.[managedBy] === fieldManager
      const labels = { [enforceLabel]: 'privileged', ...(ours && { [managedBy]: fieldManager }) }
      const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
      await call(
        `applying namespace ${name}`,
        core.patchNamespace({ name, body, fieldManager, force: true }, apply),
      )
    },
    /**
     * The operator's OAuth client, in a Secret of ours. The operator reads both raw: no newline may follow them.
     * Another's Secret of that name is refused: its values would be lost.
     */
    async applyOAuthSecret(namespace: string, client: { id: string; secret: string }): Promise<void> {
      const there = await call(
        `reading Secret ${namespace}/${oauthSecret}`,
        orMissing(core.readNamespacedSecret({ namespace, name: oauthSecret })),
      )
      if (there && there.metadata?.labels?.[managedBy] !== fieldManager)
        throw new OnehopError('secret-not-ours', { namespace, name: oauthSecret })
      const data = { client_id: base64(client.id), client_secret: base64(client.secret) }
      const metadata = { name: oauthSecret, namespace, labels: { [managedBy]: fieldManager } }
      const body = { apiVersion: 'v1', kind: 'Secret', metadata, data }
      await call(
        `applying Secret ${namespace}/${oauthSecret}`,
        core.patchNamespacedSecret({ namespace, name: oauthSecret, body, fieldManager, force: true }, apply),
      )
    },
    /** Whether the operator's Secret holds this OAuth client. Its values stay in here. */
    async oauthSecretState(
      namespace: string,
      client: { id: string; secret: string },
    ): Promise<'same' | 'changed' | 'gone'> {
      const found = await call(
        `reading Secret ${namespace}/${oauthSecret}`,
        orMissing(core.readNamespacedSecret({ namespace, name: oauthSecret })),
      )
      if (!found) return 'gone'
      const { client_id, client_secret } = found.data ?? {}
      return client_id === base64(client.id) && client_secret === base64(client.secret) ? 'same' : 'changed'
    },
    async proxyClassReady(name: string): Promise<boolean | undefined> {
      const read = custom.getClusterCustomObject({ ...proxyClasses, name })
      const found = (await call(`reading ProxyClass ${name}`, orMissing(read))) as ProxyClass | undefined
      return (
        found &&
        (found.status?.conditions ?? []).some(
          (each) => each.type === 'ProxyClassReady' && each.status === 'True',
        )
      )
    },
    /** Whether onehop made the ProxyClass, and so the installation: it says so still when the Secret is gone. */
    async isOurProxyClass(name: string): Promise<boolean> {
      const read = custom.getClusterCustomObject({ ...proxyClasses, name })
      const found = (await call(`reading ProxyClass ${name}`, orMissing(read))) as ProxyClass | undefined
      return found?.metadata?.labels?.[managedBy] === fieldManager
    },
    /** Our default ProxyClass: a control-plane taint is tolerated (Talos has one again after a reboot), images are not pulled anew. */
    async applyProxyClass(name: string): Promise<void> {
      const container = { imagePullPolicy: 'IfNotPresent' }
      const pod = {
        tolerations: [
          { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
        ],
        tailscaleContainer: container,
        tailscaleInitContainer: container,
      }
      const metadata = { name, labels: { [managedBy]: fieldManager } }
      const body = {
        apiVersion: 'tailscale.com/v1alpha1',
        kind: 'ProxyClass',
        metadata,
        spec: { statefulSet: { pod } },
      }
      await call(
        `applying ProxyClass ${name}`,
        custom.patchClusterCustomObject({ ...proxyClasses, name, body, fieldManager, force: true }, apply),
      )
    },
  }
}

type ProxyClass = {
  metadata?: { labels?: Record<string, string> }
  status?: { conditions?: Array<{ type: string; status: string }> }
}

/** An annotation that gives an object another version, and is withdrawn at once. */
const fenceMark = () => ({ annotations: { 'onehop.dev/fence': new Date().toISOString() } })

/** The label of what onehop made, with `fieldManager` as its value. */
export const managedBy = 'app.kubernetes.io/managed-by'
const enforceLabel = 'pod-security.kubernetes.io/enforce'
export const oauthSecret = 'operator-oauth'
const clusterIpAnnotation = 'tailscale.com/operator-last-set-cluster-ip'
export const proxyClasses = { group: 'tailscale.com', version: 'v1alpha1', plural: 'proxyclasses' }

const base64 = (text: string) => Buffer.from(text, 'utf8').toString('base64')
