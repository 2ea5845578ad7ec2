import { NetworkingV1Api, type V1Ingress } from '@kubernetes/client-node'
import { loadConfig } from './kube-config.ts'
import { managedBy } from './kubernetes.ts'
import { coded, orMissing } from './kubernetes-call.ts'
import { fieldManager } from './kubernetes-facts.ts'
import { listPages, RawLists } from './list-pages.ts'

/** What an Ingress of class tailscale asks of the operator: one name, answered with TLS on 443, in front of one port of a Service. */
export type IngressWish = { hostname: string; tag: string; service: string; port: number }
export type IngressFacts = {
  namespace: string
  name: string
  uid: string
  resourceVersion: string
  /** Made by onehop, by its label. */
  ours: boolean
  /** Its whole spec as a wish; absent where it is anything else. */
  wish?: IngressWish
  finalizers: string[]
}

/**
 * The Ingresses of one cluster. Every function throws kubernetes-unreachable, kubernetes-refused or kubernetes-conflict.
 *
 * @throws OnehopError kubernetes-context-unknown
 */
export function createIngresses({
  context,
  kubeconfig,
}: {
  context: string
  kubeconfig?: string | undefined
}) {
  const config = loadConfig(context, kubeconfig)
  const networking = config.makeApiClient(NetworkingV1Api)
  const lists = config.makeApiClient(RawLists)
  const call = <T>(action: string, work: Promise<T>) => coded({ context, action, work })
  return {
    async list(): Promise<IngressFacts[]> {
      return listPages(
        (part) =>
          call('listing Ingresses', lists.page<V1Ingress>('/apis/networking.k8s.io/v1/ingresses', part)),
        ingressFacts,
      )
    },
    async read(namespace: string, name: string): Promise<IngressFacts | undefined> {
      const found = await call(
        `reading Ingress ${namespace}/${name}`,
        orMissing(networking.readNamespacedIngress({ namespace, name })),
      )
      return found && ingressFacts(found)
    },
    /** Makes it, and never takes over one that is there: that is a conflict. */
    async create(namespace: string, name: string, wish: IngressWish): Promise<void> {
      const body: V1Ingress = {
        metadata: {
          name,
          namespace,
          labels: { [managedBy]: fieldManager },
          annotations: { [tagsAnnotation]: wish.tag },
        },
        spec: specOf(wish),
      }
      await call(
        `making Ingress ${namespace}/${name}`,
        networking.createNamespacedIngress({ namespace, body, fieldManager }),
      )
    },
    /** Deletes exactly the object that was read: a later edit, or another object of that name, is a conflict. */
    async delete({ namespace, name, uid, resourceVersion }: IngressFacts): Promise<void> {
      await call(
        `deleting Ingress ${namespace}/${name}`,
        orMissing(
          networking.deleteNamespacedIngress({
            namespace,
            name,
            body: { preconditions: { uid, resourceVersion } },
          }),
        ),
      )
    },
  }
}

const tagsAnnotation = 'tailscale.com/tags'

const specOf = ({ hostname, service, port }: IngressWish): NonNullable<V1Ingress['spec']> => ({
  ingressClassName: 'tailscale',
  defaultBackend: { service: { name: service, port: { number: port } } },
  // The operator takes the first label of this as the device's name; the hostname annotation it does not read here.
  tls: [{ hosts: [hostname] }],
})

function ingressFacts({ metadata, spec }: V1Ingress): IngressFacts {
  const backend = spec?.defaultBackend?.service
  const wish: IngressWish = {
    hostname: spec?.tls?.[0]?.hosts?.[0] ?? '',
    tag: metadata?.annotations?.[tagsAnnotation] ?? '',
    service: backend?.name ?? '',
    port: backend?.port?.number ?? 0,
  }
  const isPlain =
    spec?.ingressClassName === 'tailscale' &&
    spec.tls?.length === 1 &&
    spec.tls[0]?.hosts?.length === 1 &&
    (spec.rules ?? []).length === 0
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
    resourceVersion: metadata?.resourceVersion ?? '',
    ours: metadata?.labels?.[managedBy] === fieldManager,
    finalizers: metadata?.finalizers ?? [],
    ...(isPlain && { wish }),
  }
}
