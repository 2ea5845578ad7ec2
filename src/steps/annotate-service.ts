import { OnehopError } from '../errors.ts'
import type { ClusterService } from '../plan/mesh.ts'
import { exposeAnnotations } from '../plan/plan.ts'
import type { OwnedValue, ServiceFacts } from '../systems/kubernetes.ts'
import type { Systems } from '../systems/systems.ts'

/** The annotations of one Service that are ours to set: each with its owner, or null where there is none. */
export type ExposeState = {
  namespace: string
  name: string
  uid: string
  annotations: Record<string, OwnedValue | null>
}

/** Exposes a Service by annotations, applied server-side as field manager `onehop`; its type stays as it is. */
export const annotateService = {
  /** What stands there now. @throws OnehopError service-missing */
  async read({ kubernetes }: Systems, service: ClusterService): Promise<ExposeState> {
    const facts = await kubernetes.service(service.namespace, service.object)
    if (!facts) throw new OnehopError('service-missing', { object: service.service })
    const keys = Object.keys(exposeAnnotations(service))
    const annotations = Object.fromEntries(keys.map((key) => [key, facts.annotations[key] ?? null]))
    return { namespace: facts.namespace, name: facts.name, uid: facts.uid, annotations }
  },

  target(before: ExposeState, service: ClusterService): ExposeState {
    const annotations = Object.fromEntries(
      Object.entries(exposeAnnotations(service)).map(([key, value]) => [key, { value, manager: 'onehop' }]),
    )
    return { ...before, annotations }
  },

  /**
   * Compare-and-swap: only if the Service is the one of `from` and holds its values (or already those of `to`).
   *
   * @throws OnehopError service-missing, service-recreated, changed-by-others
   */
  async write(
    { kubernetes }: Systems,
    { from, to, undo }: { from: ExposeState; to: ExposeState; undo: boolean },
  ): Promise<void> {
    const object = `${to.namespace}/${to.name}`
    const facts = await kubernetes.service(to.namespace, to.name)
    if (!facts) throw new OnehopError('service-missing', { object })
    if (facts.uid !== to.uid)
      throw new OnehopError('service-recreated', {
        object,
        service: to.name,
        expected: to.uid,
        found: facts.uid,
      })
    if (holds(facts, to) && !undo) return
    // Key by key: an undo that died between its two writes has left some of each.
    const either = (key: string) =>
      [from, to].some((state) => facts.annotations[key]?.value === state.annotations[key]?.value)
    if (!Object.keys(to.annotations).every(either)) {
      const found = Object.keys(to.annotations)
        .map((key) => `${key}=${facts.annotations[key]?.value ?? '(none)'}`)
        .join(' ')
      throw new OnehopError('changed-by-others', { what: `Service ${object}`, found })
    }
    if (undo) return kubernetes.restoreAnnotations(facts, to.annotations)
    const values = Object.entries(to.annotations).flatMap(([key, owned]) =>
      owned ? [[key, owned.value] as const] : [],
    )
    return kubernetes.applyAnnotations(facts, Object.fromEntries(values))
  },
}

const holds = (facts: ServiceFacts, state: ExposeState) =>
  Object.entries(state.annotations).every(([key, owned]) => facts.annotations[key]?.value === owned?.value)
