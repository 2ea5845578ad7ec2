import { OnehopError } from '../src/errors.ts'
import type { IngressFacts } from '../src/systems/ingresses.ts'
import type { Systems } from '../src/systems/systems.ts'
import { type Cluster, keyOf } from './cluster.ts'
import type { IngressObject } from './cluster-state.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** The Ingresses as src/systems/ingresses.ts sees them; the operator makes a proxy for each (cluster.ts). */
export function createMemoryIngresses({
  effect,
  cluster,
  by,
  context = 'sim',
}: Options): Systems['ingresses'] {
  const { ingresses } = cluster.state
  const lost = () => new OnehopError('kubernetes-unreachable', { context, message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'kubernetes', what, lost }, work)
  const write = (what: string, work: () => void) =>
    effect(by, { system: 'kubernetes', what, lost, writes: true }, work)
  const conflict = (action: string, message: string) =>
    new OnehopError('kubernetes-conflict', { action, message })
  return {
    list: () => get('ingresses', () => [...ingresses.values()].map(factsOf)),
    read: (namespace, name) =>
      get(`ingress ${name}`, () => {
        const found = ingresses.get(keyOf({ namespace, name }))
        return found && factsOf(found)
      }),
    create: (namespace, name, wish) =>
      write(`make ingress ${name}`, () => {
        if (ingresses.has(keyOf({ namespace, name })))
          throw conflict(
            `making Ingress ${namespace}/${name}`,
            `ingresses.networking.k8s.io "${name}" already exists`,
          )
        cluster.createIngress(namespace, name, wish)
      }),
    delete: ({ namespace, name, uid, resourceVersion }) =>
      write(`delete ingress ${name}`, () => {
        const key = keyOf({ namespace, name })
        const found = ingresses.get(key)
        if (!found) return
        if (found.uid !== uid || String(found.version) !== resourceVersion)
          throw conflict(`deleting Ingress ${namespace}/${name}`, 'the precondition failed')
        cluster.deleteIngress(key)
      }),
  }
}

const factsOf = ({ namespace, name, uid, version, ours, wish, finalizers }: IngressObject): IngressFacts => ({
  ...{ namespace, name, uid, resourceVersion: String(version), ours },
  ...{ wish: { ...wish }, finalizers: [...finalizers] },
})

type Options = { effect: Conditions['effect']; cluster: Cluster; by: Process; context?: string }
