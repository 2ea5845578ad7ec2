import { OnehopError } from '../src/errors.ts'
import type { Whose } from '../src/systems/operator-objects.ts'
import type { Systems } from '../src/systems/systems.ts'
import type { Cluster } from './cluster.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** The operator's own objects as src/systems/operator-objects.ts sees them. */
export function createMemoryOperatorObjects({
  effect,
  cluster,
  by,
  context = 'sim',
}: Options): Systems['operatorObjects'] {
  const { state } = cluster
  const lost = () => new OnehopError('kubernetes-unreachable', { context, message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'kubernetes', what, lost }, work)
  const write = (what: string, work: () => void) =>
    effect(by, { system: 'kubernetes', what, lost, writes: true }, work)
  return {
    look: ({ namespace, proxyClass }) =>
      get('look at the operator', () => ({
        namespace: whose(state.namespaces.get(namespace)),
        secret: whose(state.oauthSecrets.get(namespace)),
        proxyClass: whose(state.proxyClasses.get(proxyClass)),
        running: state.operator?.namespace === namespace,
        kindsGoing: state.kinds === 'going',
        deviceIds: [...(state.operatorDevices.get(namespace) ?? [])],
      })),
    users: ({ namespace, proxyClass }) =>
      get('users of the operator', () => [
        ...[...state.services]
          .filter(
            ([, { annotations, finalizers }]) =>
              annotations.get('tailscale.com/expose')?.value === 'true' || finalizers.some(isOperators),
          )
          .map(([key]) => `Service ${key}`),
        ...[...state.ingresses.keys()].map((key) => `Ingress ${key}`),
        ...[...state.proxies]
          .filter(([, proxy]) => proxy.namespace === namespace)
          .map(([key]) => `StatefulSet ${namespace}/${statefulSetOf(key)}`),
        ...[...state.proxyClasses.keys()]
          .filter((name) => name !== proxyClass)
          .map((name) => `ProxyClass ${name}`),
      ]),
    deleteProxyClass: (name) => write('delete ProxyClass', () => cluster.deleteProxyClass(name)),
    deleteSecrets: (namespace) =>
      write("delete the operator's Secrets", () => cluster.deleteOperatorSecrets(namespace)),
    deleteNamespace: (name) => write('delete namespace', () => cluster.deleteNamespace(name)),
    contents: (namespace) =>
      get(`contents of ${namespace}`, () => {
        const within = (kind: string, keys: Iterable<string>) =>
          [...keys].flatMap((key) =>
            key.startsWith(`${namespace}/`) ? [`${kind} ${key.split('/')[1]}`] : [],
          )
        const { operator } = state
        return [
          ...within('Service', state.services.keys()),
          ...within('Ingress', state.ingresses.keys()),
          ...[...state.releases].flatMap(([key, { revision }]) =>
            within('Secret', [key]).map(
              (each) => `${each.replace(' ', ' sh.helm.release.v1.')}.v${revision}`,
            ),
          ),
          ...(operator?.namespace === namespace && !operator.going ? ['Deployment operator'] : []),
          ...(state.oauthSecrets.has(namespace) ? ['Secret operator-oauth'] : []),
          ...(state.operatorDevices.has(namespace) ? ['Secret operator'] : []),
          ...[...state.proxies].flatMap(([key, proxy]) =>
            proxy.namespace === namespace
              ? [`StatefulSet ${statefulSetOf(key)}`, `Secret ${statefulSetOf(key)}-0`]
              : [],
          ),
        ]
      }),
  }
}

const whose = (found: { ours: boolean } | undefined): Whose =>
  !found ? 'none' : found.ours ? 'ours' : 'other'

const isOperators = (finalizer: string) => finalizer.startsWith('tailscale.com/')

/** The operator draws the last letters; here they are always the same. */
const statefulSetOf = (key: string) => `ts-${key.split('/')[1]}-simul`

type Options = { effect: Conditions['effect']; cluster: Cluster; by: Process; context?: string }
