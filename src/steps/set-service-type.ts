import { OnehopError } from '../errors.ts'
import type { ClusterService } from '../plan/mesh.ts'
import type { ServiceType, ServiceTypeFacts } from '../systems/kubernetes-facts.ts'
import type { Systems } from '../systems/systems.ts'
import { sameObject } from './same-object.ts'

/** The type of one Service with all that hangs on it: what a NodePort Service loses when it becomes a ClusterIP. */
export type TypeState = { namespace: string; name: string; uid: string } & ServiceType

/** Makes a NodePort Service a ClusterIP, and back with the very same nodePort numbers. */
export const setServiceType = {
  /** What stands there now. @throws OnehopError service-missing */
  async read({ kubernetes }: Systems, service: ClusterService): Promise<TypeState> {
    const facts = await kubernetes.serviceType(service.namespace, service.object)
    if (!facts) throw new OnehopError('service-missing', { object: service.service })
    const { namespace, name, uid, type, manager, externalTrafficPolicy, ports } = facts
    return {
      ...{ namespace, name, uid, type, manager },
      ...(externalTrafficPolicy !== undefined && { externalTrafficPolicy }),
      ports,
    }
  },

  /** A Helm-owned Service is not for this step: see `typeSource`. @throws OnehopError service-type-kept for a LoadBalancer */
  target(before: TypeState): TypeState {
    const { namespace, name, uid, type } = before
    if (type !== 'NodePort' && type !== 'ClusterIP')
      throw new OnehopError('service-type-kept', { object: `${namespace}/${name}`, type })
    const ports = before.ports.map(({ nodePort: _, ...port }) => port)
    return { namespace, name, uid, type: 'ClusterIP', manager: 'onehop-retire', ports }
  },

  /**
   * Compare-and-swap: only if the Service is the one of `from` and of its type and nodePorts (or already those of `to`).
   *
   * `force` takes the place of another NodePort, never of another type.
   *
   * @throws OnehopError service-missing, service-recreated, changed-by-others, service-type-kept, nodeport-taken
   */
  async write({ kubernetes }: Systems, { from, to, undo, service, force = false }: Write): Promise<void> {
    const object = `${to.namespace}/${to.name}`
    const facts = sameObject(await kubernetes.serviceType(to.namespace, to.name), to, service)
    if (sameType(facts, to) && !undo) return
    if (!force && !sameType(facts, from) && !sameType(facts, to))
      throw new OnehopError('changed-by-others', {
        what: `Service ${object}`,
        found: typeText(facts),
        wanted: typeText(to),
        service,
      })
    if (undo) return kubernetes.restoreServiceType(facts, to)
    if (facts.type !== 'NodePort' && facts.type !== 'ClusterIP')
      throw new OnehopError('service-type-kept', { object, type: facts.type })
    return kubernetes.setServiceType(facts, 'ClusterIP')
  },
}

type Write = { from: TypeState; to: TypeState; undo: boolean; service: string; force?: boolean }

const typeText = ({ type, ports }: ServiceType) =>
  `${type} ${ports.map(({ port, nodePort }) => `${port}${nodePort === undefined ? '' : `:${nodePort}`}`).join(' ')}`

const sameType = (facts: ServiceTypeFacts, state: TypeState) => {
  const text = ({ type, ports }: ServiceType) =>
    [
      type,
      ...ports.map(({ port, protocol, nodePort }) => `${protocol} ${port} ${nodePort ?? ''}`).sort(),
    ].join()
  return text(facts) === text(state)
}
