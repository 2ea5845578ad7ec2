import {
  ApiextensionsV1Api, ApisApi, AppsV1Api, CoreV1Api, CustomObjectsApi, type KubernetesObject, KubernetesObjectApi, NetworkingV1Api,
  type V1ObjectMeta,
} from '@kubernetes/client-node' // biome-ignore format: a list
import { z } from 'zod'
import { OnehopError } from '../errors.ts'
import { loadConfig } from './kube-config.ts'
import { managedBy, oauthSecret, proxyClasses } from './kubernetes.ts'
import { coded, orMissing } from './kubernetes-call.ts'
import { fieldManager } from './kubernetes-facts.ts'

/**
 * The operator's own objects, seen by whoever wants to take them away: what is there of them, whose they are, and what still
 * hangs on them. Every function throws kubernetes-unreachable or kubernetes-refused; deleting what is gone is no failure.
 *
 * @throws OnehopError kubernetes-context-unknown
 */
export function createOperatorObjects({
  context,
  kubeconfig,
}: {
  context: string
  kubeconfig?: string | undefined
}) {
  const config = loadConfig(context, kubeconfig)
  const core = config.makeApiClient(CoreV1Api)
  const apps = config.makeApiClient(AppsV1Api)
  const networking = config.makeApiClient(NetworkingV1Api)
  const custom = config.makeApiClient(CustomObjectsApi)
  const extensions = config.makeApiClient(ApiextensionsV1Api)
  const groups = config.makeApiClient(ApisApi)
  const objects = KubernetesObjectApi.makeApiClient(config)
  const call = <T>(action: string, work: Promise<T>) => coded({ context, action, work })
  const { group, version } = proxyClasses

  return {
    /** What there is of an installation, and whose it is. */
    async look({
      namespace,
      proxyClass,
    }: {
      namespace: string
      proxyClass: string
    }): Promise<OperatorObjects> {
      const [space, deployments, pods, secret, state, ownClass, kinds] = await call(
        `reading the operator in ${namespace}`,
        Promise.all([
          orMissing(core.readNamespace({ name: namespace })),
          apps.listNamespacedDeployment({ namespace }),
          core.listNamespacedPod({ namespace, labelSelector: 'app=operator' }),
          orMissing(core.readNamespacedSecret({ namespace, name: oauthSecret })),
          orMissing(core.readNamespacedSecret({ namespace, name: stateSecret })),
          orMissing(custom.getClusterCustomObject({ ...proxyClasses, name: proxyClass })),
          extensions.listCustomResourceDefinition(),
        ]),
      )
      return {
        namespace: whose(space),
        running:
          pods.items.length > 0 || deployments.items.some(({ metadata }) => metadata?.name === 'operator'),
        kindsGoing: kinds.items.some(
          ({ metadata, spec }) => spec.group === group && metadata?.deletionTimestamp,
        ),
        secret: whose(secret),
        proxyClass: whose(ownClass as KubernetesObject | undefined),
        deviceIds: deviceIdsOf(state?.data?.[profilesKey]),
      }
    },

    /**
     * What would go dark, or would go altogether, with the operator: whatever it exposes, and every object of its kinds
     * (which go with their definitions when Helm removes those), except our ProxyClass. As `Kind namespace/name`.
     */
    async users({ namespace, proxyClass }: { namespace: string; proxyClass: string }): Promise<string[]> {
      const [services, ingresses, sets, kinds] = await call(
        'listing what uses the operator',
        Promise.all([
          core.listServiceForAllNamespaces(),
          networking.listIngressForAllNamespaces(),
          apps.listNamespacedStatefulSet({ namespace, labelSelector: 'tailscale.com/managed=true' }),
          orMissing(custom.getAPIResources({ group, version })),
        ]),
      )
      const exposed = services.items.filter(
        ({ metadata, spec }) =>
          metadata?.annotations?.['tailscale.com/expose'] === 'true' ||
          spec?.loadBalancerClass === 'tailscale' ||
          isHeld(metadata),
      )
      const routed = ingresses.items.filter(
        ({ metadata, spec }) => spec?.ingressClassName === 'tailscale' || isHeld(metadata),
      )
      const plurals = (kinds?.resources ?? []).filter(({ name }) => !name.includes('/'))
      const lists = await call(
        'listing the objects of its kinds',
        Promise.all(
          plurals.map(async ({ name: plural, kind }) => {
            const listed = await orMissing(custom.listClusterCustomObject({ group, version, plural }))
            const { items } = listSchema.parse(listed ?? { items: [] })
            return items
              .filter(({ metadata: { name } }) => kind !== 'ProxyClass' || name !== proxyClass)
              .map((each) => nameOf(kind, each.metadata))
          }),
        ),
      )
      return [
        ...exposed.map(({ metadata }) => nameOf('Service', metadata)),
        ...routed.map(({ metadata }) => nameOf('Ingress', metadata)),
        ...sets.items.map(({ metadata }) => nameOf('StatefulSet', metadata)),
        ...lists.flat(),
      ]
    },

    async deleteProxyClass(name: string): Promise<void> {
      await call(
        `deleting ProxyClass ${name}`,
        orMissing(custom.deleteClusterCustomObject({ ...proxyClasses, name })),
      )
    },

    /** The operator's state (with the keys of its device, which is gone) first: the other one is the mark that all this is ours. */
    async deleteSecrets(namespace: string): Promise<void> {
      for (const name of [stateSecret, oauthSecret])
        await call(
          `deleting Secret ${namespace}/${name}`,
          orMissing(core.deleteNamespacedSecret({ namespace, name })),
        )
    },

    async deleteNamespace(name: string): Promise<void> {
      await call(`deleting namespace ${name}`, orMissing(core.deleteNamespace({ name }))).catch(
        (thrown: unknown) => {
          // That is how it answers while it is going already.
          if (!(thrown instanceof OnehopError && thrown.code === 'kubernetes-conflict')) throw thrown
        },
      )
    },

    /** Everything in a namespace that would not be there in an empty one, of whatever kind, as `Kind name`. */
    async contents(namespace: string): Promise<string[]> {
      const action = `listing what is in namespace ${namespace}`
      const { groups: known } = await call(action, groups.getAPIVersions())
      const versions = known.map(
        ({ preferredVersion, versions: [first] }) =>
          preferredVersion ?? first ?? { groupVersion: '', version: '' },
      )
      const resources = await call(
        action,
        Promise.all([
          core
            .getAPIResources()
            .then((list) => list.resources.map((each) => ({ ...each, apiVersion: 'v1' }))),
          ...versions.map(async ({ groupVersion, version: its }) => {
            const list = await orMissing(
              custom.getAPIResources({ group: groupVersion.split('/')[0] ?? '', version: its }),
            )
            return (list?.resources ?? []).map((each) => ({ ...each, apiVersion: groupVersion }))
          }),
        ]),
      )
      // What cannot be deleted is computed (metrics), and events are no objects of anybody's.
      const kinds = resources
        .flat()
        .filter(
          ({ name, kind, namespaced, verbs }) =>
            namespaced &&
            !name.includes('/') &&
            kind !== 'Event' &&
            ['list', 'delete'].every((verb) => verbs.includes(verb)),
        )
      const found = await call(
        action,
        Promise.all(
          kinds.map(async ({ apiVersion, kind }) => {
            const list = await orMissing(objects.list(apiVersion, kind, namespace))
            return (list?.items ?? [])
              .filter(isSomebodys(kind))
              .map((each) => `${kind} ${each.metadata?.name ?? ''}`)
          }),
        ),
      )
      return [...new Set(found.flat())]
    },
  }
}

/** `other`: there, and not made by onehop. */
export type Whose = 'ours' | 'other' | 'none'
export type OperatorObjects = {
  namespace: Whose
  /** The OAuth Secret: it says whose the installation is. */
  secret: Whose
  proxyClass: Whose
  /** Whether its Deployment, or a pod of it that has not ended yet, is there. */
  running: boolean
  /** Whether definitions of its kinds are being deleted, and so cannot be applied anew. */
  kindsGoing: boolean
  /** Its own device on the tailnet, by what it has written down itself; more only if it was ever logged in anew. */
  deviceIds: string[]
}

/** Where the operator keeps its login. Helm does not know this Secret. */
const stateSecret = 'operator'
/** Of that Secret only this key is read: it holds ids and names, the private keys stand in others. */
const profilesKey = '_profiles'
const profilesSchema = z.record(z.string(), z.looseObject({ NodeID: z.string().default('') }))
const metadataSchema = z.looseObject({ name: z.string(), namespace: z.string().optional() })
const listSchema = z.looseObject({ items: z.array(z.looseObject({ metadata: metadataSchema })) })

function whose(object: KubernetesObject | undefined): Whose {
  if (!object) return 'none'
  return object.metadata?.labels?.[managedBy] === fieldManager ? 'ours' : 'other'
}

function deviceIdsOf(profiles: string | undefined): string[] {
  if (profiles === undefined) return []
  const parsed = profilesSchema.safeParse(JSON.parse(Buffer.from(profiles, 'base64').toString('utf8')))
  return Object.values(parsed.data ?? {}).flatMap(({ NodeID }) => (NodeID === '' ? [] : [NodeID]))
}

const isHeld = (metadata: V1ObjectMeta | undefined) =>
  (metadata?.finalizers ?? []).some((each) => each.startsWith('tailscale.com/'))

const nameOf = (kind: string, metadata: { namespace?: string | undefined; name?: string | undefined } = {}) =>
  `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name ?? ''}`

/** Not what every namespace has by itself, nor what goes with its owner or is going already. */
const isSomebodys =
  (kind: string) =>
  ({ metadata }: KubernetesObject) =>
    !metadata?.deletionTimestamp &&
    (metadata?.ownerReferences ?? []).length === 0 &&
    !(kind === 'ServiceAccount' && metadata?.name === 'default') &&
    !(kind === 'ConfigMap' && metadata?.name === 'kube-root-ca.crt')
