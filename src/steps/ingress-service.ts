import { OnehopError } from '../errors.ts'
import type { ClusterService } from '../plan/mesh.ts'
import { ingressName, ingressWish } from '../plan/paths.ts'
import type { IngressFacts, IngressWish } from '../systems/ingresses.ts'
import type { Systems } from '../systems/systems.ts'

/** The Ingress of one service, named by us; null where there is none. `uid` is that of the Service behind it. */
export type IngressState = {
  namespace: string
  name: string
  uid: string
  ingress: { name: string; wish: IngressWish } | null
}

/** Exposes a Service with TLS on 443 by an Ingress of class tailscale; the Service itself stays untouched. */
export const ingressService = {
  /** @throws OnehopError service-missing, ingress-taken */
  async read({ kubernetes, ingresses }: Systems, service: ClusterService): Promise<IngressState> {
    const { namespace, object, name } = service
    const facts = await kubernetes.service(namespace, object)
    if (!facts) throw new OnehopError('service-missing', { object: service.service })
    const found = await ingresses.read(namespace, ingressName(service))
    if (found && !found.ours)
      throw new OnehopError('ingress-taken', { ingress: `${namespace}/${found.name}`, service: name })
    return { namespace, name: object, uid: facts.uid, ingress: null }
  },

  target: (before: IngressState, service: ClusterService): IngressState => ({
    ...before,
    ingress: { name: ingressName(service), wish: ingressWish(service) },
  }),

  /**
   * Compare-and-swap: makes it where there is none, deletes it only as it was made, or by `force`. An Ingress that is not
   * ours is never touched. A create that is still on its way from a worker that died cannot be fenced off, as the object
   * has no version before it is there; an undo comes seconds later, and the proof of it looks again.
   *
   * @throws OnehopError ingress-taken, changed-by-others, kubernetes-conflict
   */
  async write({ ingresses }: Systems, { from, to, service, force = false }: Write): Promise<void> {
    const name = (to.ingress ?? from.ingress)?.name ?? ''
    const found = await ingresses.read(to.namespace, name)
    const what = `Ingress ${to.namespace}/${name}`
    if (to.ingress) {
      if (!found) return ingresses.create(to.namespace, name, to.ingress.wish)
      if (!found.ours) throw new OnehopError('ingress-taken', { ingress: `${to.namespace}/${name}`, service })
      if (same(found.wish, to.ingress.wish)) return
      throw changed(what, found, to.ingress.wish, service)
    }
    if (!found?.ours) return
    if (!force && !same(found.wish, from.ingress?.wish))
      throw changed(what, found, from.ingress?.wish, service)
    return ingresses.delete(found)
  },
}

type Write = { from: IngressState; to: IngressState; service: string; force?: boolean }

const same = (a: IngressWish | undefined, b: IngressWish | undefined) =>
  a !== undefined && b !== undefined && textOf(a) === textOf(b)

const changed = (what: string, found: IngressFacts, wanted: IngressWish | undefined, service: string) =>
  new OnehopError('changed-by-others', {
    what,
    found: found.wish ? textOf(found.wish) : 'another spec',
    wanted: wanted ? textOf(wanted) : '(none)',
    service,
  })

const textOf = ({ hostname, tag, service, port }: IngressWish) =>
  `hostname=${hostname} tag=${tag} service=${service} port=${port}`
