import type { V1ObjectMeta, V1Pod, V1Secret, V1Service } from '@kubernetes/client-node'

// What onehop reads off the cluster's objects.

/** The field manager that owns what onehop applies to the user's objects. */
export const fieldManager = 'onehop'

/** The field manager that owns a type which onehop took; apart from the annotations. */
export const typeManager = 'onehop-retire'
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
  /** `protocol` only where it is not TCP. */
  ports: Array<{ name: string; port: number; nodePort?: number; protocol?: string }>
  helmRelease?: string
  /** The field manager that owns the type. */
  typeManager?: string
}
/** `manager` owns the type; null where nobody does. */
export type ServiceType = {
  type: string
  manager: string | null
  externalTrafficPolicy?: string
  ports: Array<{ name: string; port: number; protocol: string; nodePort?: number }>
}
export type ServiceTypeFacts = ServiceType & {
  namespace: string
  name: string
  uid: string
  resourceVersion: string
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
  /** Of an Ingress: where it answers with TLS, or `no-https` where the tailnet has no certificates. */
  httpsEndpoint?: string
  /** It asks for a new login key, which the operator gives to no proxy of this kind (tailscale#20744). */
  keySpent?: boolean
  trouble?: string
  /** The trouble is young, and may pass by itself. */
  mayPass?: boolean
}
export type OperatorFacts = { version: string; ours: boolean; running: boolean; message: string }

export function serviceFacts(service: V1Service): ServiceFacts {
  const { metadata, spec } = service
  const release = metadata?.annotations?.['meta.helm.sh/release-name']
  const typeManager = typeManagerOf(metadata)
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
      ...(each.protocol !== undefined && each.protocol !== 'TCP' && { protocol: each.protocol }),
    })),
    ...(release !== undefined && { helmRelease: release }),
    ...(typeManager !== undefined && { typeManager }),
  }
}

/** Who owns the type, ourselves last. */
function typeManagerOf(metadata: V1ObjectMeta | undefined): string | undefined {
  const owners = (metadata?.managedFields ?? []).filter(
    (each) => (each.fieldsV1 as { 'f:spec'?: Record<string, unknown> } | undefined)?.['f:spec']?.['f:type'],
  )
  return (owners.find(({ manager }) => manager !== typeManager) ?? owners[0])?.manager
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

export function serviceTypeFacts(service: V1Service): ServiceTypeFacts {
  const { namespace, name, uid, resourceVersion, helmRelease, typeManager: manager } = serviceFacts(service)
  const { spec } = service
  return {
    ...{ namespace, name, uid, resourceVersion },
    type: spec?.type ?? 'ClusterIP',
    manager: manager ?? null,
    ...(spec?.externalTrafficPolicy !== undefined && { externalTrafficPolicy: spec.externalTrafficPolicy }),
    ports: (spec?.ports ?? []).map((each) => ({
      name: each.name ?? '',
      port: each.port,
      protocol: each.protocol ?? 'TCP',
      ...(each.nodePort !== undefined && each.nodePort !== 0 && { nodePort: each.nodePort }),
    })),
    ...(helmRelease !== undefined && { helmRelease }),
  }
}

export const samePort = (a: { port: number; protocol: string }, b: { port: number; protocol?: string }) =>
  a.port === b.port && a.protocol === (b.protocol ?? 'TCP')

export function parentOf(metadata: V1ObjectMeta | undefined): string {
  const label = (what: string) => metadata?.labels?.[`tailscale.com/parent-resource${what}`] ?? ''
  return `${label('-type') === 'ingress' ? 'ingress:' : ''}${label('-ns')}/${label('')}`
}

/** What is read out of a proxy's Secret; its keys are never. */
export const secretOf = ({ data }: V1Secret) => {
  const value = (key: string) => {
    const found = data?.[key]
    return found === undefined ? undefined : Buffer.from(found, 'base64').toString('utf8')
  }
  return {
    fqdn: value('device_fqdn')?.replace(/\.$/, ''),
    deviceId: value('device_id'),
    httpsEndpoint: value('https_endpoint'),
    addresses: JSON.parse(value('device_ips') ?? '[]') as string[],
    podUid: value('pod_uid'),
    keySpent: Boolean(value('reissue_authkey')),
  }
}

export const podOf = (pod: V1Pod) => {
  const { message: trouble, since } = troubleOf(pod) ?? {}
  const mayPass = since !== undefined && Date.now() - new Date(since).getTime() < fewMinutes
  return { uid: pod.metadata?.uid, trouble, mayPass }
}
const fewMinutes = 300_000

export function proxyOf(
  { fqdn, deviceId, httpsEndpoint, addresses, podUid, keySpent }: ReturnType<typeof secretOf>,
  pod: ReturnType<typeof podOf> | undefined,
  destination: string | undefined,
): ProxyFacts {
  const trouble = keySpent ? 'its login key is spent; it can never log in again' : pod?.trouble
  return {
    ...(fqdn && { fqdn }),
    ...(deviceId && { deviceId }),
    ...(httpsEndpoint && { httpsEndpoint }),
    ...(destination && { destination }),
    ...(keySpent && { keySpent }),
    ...(trouble && { trouble }),
    ...(!keySpent && pod?.mayPass && { mayPass: true }),
    addresses,
    current: pod?.uid !== undefined && podUid === pod.uid,
  }
}

/** Why a pod does not start, if kubelet has said so. */
export const podTrouble = (pod: V1Pod): string | undefined => troubleOf(pod)?.message

/** `since` is there where kubelet or the scheduler goes on trying: a program that crashes, a node that has no room yet. */
function troubleOf({ status }: V1Pod): { message: string; since?: Date | undefined } | undefined {
  const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
  const waiting = containers
    .map((each) => each.state?.waiting)
    .find((each) => each?.reason && !['PodInitializing', 'ContainerCreating'].includes(each.reason))
  if (waiting) {
    const message = `${waiting.reason ?? 'waiting'}${waiting.message ? `: ${waiting.message.slice(0, 200)}` : ''}`
    return { message, ...(waiting.reason === 'CrashLoopBackOff' && { since: status?.startTime }) }
  }
  const unscheduled = status?.conditions?.find(
    (each) => each.type === 'PodScheduled' && each.status === 'False',
  )
  return (
    unscheduled && {
      message: `${unscheduled.reason ?? 'not scheduled'}: ${unscheduled.message ?? 'no reason is given'}`,
      since: unscheduled.lastTransitionTime,
    }
  )
}
