import {
  ApiException, AppsV1Api, CoreV1Api, CustomObjectsApi, DiscoveryV1Api, KubeConfig, PatchStrategy, setHeaderOptions,
  type V1ObjectMeta, type V1Pod, type V1Secret, type V1Service,
} from '@kubernetes/client-node' // biome-ignore format: a list
import { messageOf, OnehopError } from '../errors.ts'

/** The field manager that owns what onehop applies to the user's objects. */
export const fieldManager = 'onehop'

/**
 * The cluster of one kubeconfig context. Lists are read once each, never per service.
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
  const discovery = config.makeApiClient(DiscoveryV1Api)
  const custom = config.makeApiClient(CustomObjectsApi)
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
      return namespace.metadata?.uid ?? ''
    },
    async services(): Promise<ServiceFacts[]> {
      const list = await call('listing Services', core.listServiceForAllNamespaces())
      return list.items.map(serviceFacts)
    },
    async service(namespace: string, name: string): Promise<ServiceFacts | undefined> {
      return call(
        `reading Service ${namespace}/${name}`,
        orMissing(core.readNamespacedService({ namespace, name })),
      ).then((service) => service && serviceFacts(service))
    },
    /** Ports with a ready endpoint, by `namespace/service`: the Service's port names (empty for an unnamed one). */
    async readyPorts(): Promise<Record<string, string[]>> {
      const list = await call('listing EndpointSlices', discovery.listEndpointSliceForAllNamespaces())
      const ready: Record<string, string[]> = {}
      for (const slice of list.items) {
        const owner = slice.metadata?.labels?.['kubernetes.io/service-name']
        if (
          !owner ||
          !slice.endpoints?.some((each) => each.conditions?.ready !== false && each.addresses.length > 0)
        )
          continue
        const key = `${slice.metadata?.namespace}/${owner}`
        ready[key] = [...(ready[key] ?? []), ...(slice.ports ?? []).map((each) => each.name ?? '')]
      }
      return ready
    },
    /** The pod-security level that each namespace enforces by its label; '' where it has none. */
    async namespaces(): Promise<Record<string, string>> {
      const list = await call('listing namespaces', core.listNamespace())
      return Object.fromEntries(
        list.items.map((each) => [each.metadata?.name ?? '', each.metadata?.labels?.[enforceLabel] ?? '']),
      )
    },
    /** The operator's proxies, by `namespace/service`. Only named, harmless keys of their Secrets are read out. */
    async proxies(namespace: string): Promise<Record<string, ProxyFacts>> {
      const labelSelector = 'tailscale.com/managed=true,tailscale.com/parent-resource-type=svc'
      const [secrets, pods, sets] = await call(
        `listing proxies in ${namespace}`,
        Promise.all([
          core.listNamespacedSecret({ namespace, labelSelector }),
          core.listNamespacedPod({ namespace, labelSelector }),
          apps.listNamespacedStatefulSet({ namespace, labelSelector }),
        ]),
      )
      const proxies: Record<string, ProxyFacts> = {}
      for (const secret of secrets.items) {
        const owner = parentOf(secret.metadata)
        proxies[owner] = proxyOf(
          secret,
          pods.items.find((each) => parentOf(each.metadata) === owner),
          sets.items.find((each) => parentOf(each.metadata) === owner)?.spec?.template.metadata
            ?.annotations?.[clusterIpAnnotation],
        )
      }
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
    /** Makes the operator's namespace and lets it admit privileged pods: without the label Talos refuses every proxy. */
    async applyNamespace(name: string): Promise<void> {
      const body = {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name, labels: { [enforceLabel]: 'privileged' } },
      }
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

export type OwnedValue = { value: string; manager: string }
export type ServiceFacts = {
  namespace: string
  name: string
  uid: string
  resourceVersion: string
  type: string
  clusterIP: string
  annotations: Record<string, OwnedValue>
  finalizers: string[]
  ports: Array<{ name: string; port: number; nodePort?: number }>
  helmRelease?: string
}
export type ProxyFacts = {
  /** The name the device was given, without the trailing dot; absent until its firewall rules are in place. */
  fqdn?: string
  deviceId?: string
  addresses: string[]
  /** Whether the pod that wrote the above is the pod that runs now. */
  current: boolean
  destination?: string
  trouble?: string
}
export type OperatorFacts = { version: string; ours: boolean; running: boolean; message: string }

type ProxyClass = { status?: { conditions?: Array<{ type: string; status: string }> } }

const managedBy = 'app.kubernetes.io/managed-by'
const enforceLabel = 'pod-security.kubernetes.io/enforce'
const oauthSecret = 'operator-oauth'
const clusterIpAnnotation = 'tailscale.com/operator-last-set-cluster-ip'
const proxyClasses = { group: 'tailscale.com', version: 'v1alpha1', plural: 'proxyclasses' }

function loadConfig(context: string, kubeconfig?: string): KubeConfig {
  const config = new KubeConfig()
  if (kubeconfig) config.loadFromFile(kubeconfig)
  else config.loadFromDefault()
  if (!config.getContextObject(context))
    throw new OnehopError('kubernetes-context-unknown', {
      context,
      known: config.contexts.map((each) => each.name).join(', ') || 'none',
    })
  config.setCurrentContext(context)
  return config
}

async function coded<T>({
  context,
  action,
  work,
}: {
  context: string
  action: string
  work: Promise<T>
}): Promise<T> {
  const deadline = 15_000
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${deadline / 1000} s`)), deadline)
  })
  try {
    return await Promise.race([work, late])
  } catch (thrown) {
    if (thrown instanceof ApiException && thrown.code < 500) {
      const message = `${apiMessage(thrown.body)} (${thrown.code})`
      throw new OnehopError('kubernetes-refused', { context, action, message }, { cause: thrown })
    }
    throw new OnehopError(
      'kubernetes-unreachable',
      { context, message: messageOf(thrown).slice(0, 300) },
      { cause: thrown },
    )
  } finally {
    clearTimeout(timer)
  }
}

function apiMessage(body: unknown): string {
  try {
    const parsed: unknown = typeof body === 'string' ? JSON.parse(body) : body
    return String((parsed as { message?: unknown } | null)?.message ?? body)
  } catch {
    return String(body)
  }
}

function orMissing<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((thrown: unknown) => {
    if (thrown instanceof ApiException && thrown.code === 404) return undefined
    throw thrown
  })
}

function serviceFacts(service: V1Service): ServiceFacts {
  const { metadata, spec } = service
  const release = metadata?.annotations?.['meta.helm.sh/release-name']
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    resourceVersion: metadata?.resourceVersion ?? '',
    type: spec?.type ?? 'ClusterIP',
    clusterIP: spec?.clusterIP ?? '',
    annotations: Object.fromEntries(
      Object.entries(metadata?.annotations ?? {})
        .filter(([key]) => key.startsWith('tailscale.com/'))
        .map(([key, value]) => [key, { value, manager: managerOf(metadata, key) }]),
    ),
    finalizers: metadata?.finalizers ?? [],
    ports: (spec?.ports ?? []).map((each) => ({
      name: each.name ?? '',
      port: each.port,
      ...(each.nodePort !== undefined && { nodePort: each.nodePort }),
    })),
    ...(release !== undefined && { helmRelease: release }),
  }
}

/** Who owns an annotation, ourselves last: undo gives a value back to whom it belonged before us. */
function managerOf(metadata: V1ObjectMeta | undefined, annotation: string): string {
  const owners = (metadata?.managedFields ?? []).filter((each) => {
    const fields = each.fieldsV1 as
      | { 'f:metadata'?: { 'f:annotations'?: Record<string, unknown> } }
      | undefined
    return fields?.['f:metadata']?.['f:annotations']?.[`f:${annotation}`] !== undefined
  })
  return (
    owners
      .map((each) => each.manager ?? '')
      .sort((a, b) => Number(a === fieldManager) - Number(b === fieldManager))[0] ?? fieldManager
  )
}

const parentOf = (metadata: V1ObjectMeta | undefined) =>
  `${metadata?.labels?.['tailscale.com/parent-resource-ns']}/${metadata?.labels?.['tailscale.com/parent-resource']}`

function proxyOf(secret: V1Secret, pod: V1Pod | undefined, destination: string | undefined): ProxyFacts {
  const value = (key: string) => {
    const data = secret.data?.[key]
    return data === undefined ? undefined : Buffer.from(data, 'base64').toString('utf8')
  }
  const fqdn = value('device_fqdn')?.replace(/\.$/, '')
  const deviceId = value('device_id')
  const trouble = value('reissue_authkey')
    ? 'its login key is spent; it can never log in again'
    : pod && podTrouble(pod)
  return {
    ...(fqdn && { fqdn }),
    ...(deviceId && { deviceId }),
    ...(destination && { destination }),
    ...(trouble && { trouble }),
    addresses: JSON.parse(value('device_ips') ?? '[]') as string[],
    current: pod?.metadata?.uid !== undefined && value('pod_uid') === pod.metadata.uid,
  }
}

/** Why a pod does not start, if kubelet has said so. */
function podTrouble(pod: V1Pod): string | undefined {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
  const waiting = statuses
    .map((each) => each.state?.waiting)
    .find((each) => each?.reason && !['PodInitializing', 'ContainerCreating'].includes(each.reason))
  if (waiting) return `${waiting.reason}${waiting.message ? `: ${waiting.message.slice(0, 200)}` : ''}`
  const unscheduled = pod.status?.conditions?.find(
    (each) => each.type === 'PodScheduled' && each.status === 'False',
  )
  return unscheduled && `${unscheduled.reason}: ${unscheduled.message}`
}

const base64 = (text: string) => Buffer.from(text, 'utf8').toString('base64')
