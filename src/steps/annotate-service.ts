import { OnehopError } from '../errors.ts'
import type { ClusterService } from '../plan/mesh.ts'
import { exposeAnnotations } from '../plan/paths.ts'
import type { OwnedValue, ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Systems } from '../systems/systems.ts'
import { sameObject } from './same-object.ts'

/** The annotations of one Service that are ours to set: each with its owner, or null where there is none. */
export type ExposeState = {
  namespace: string
  name: string
  uid: string
  annotations: Record<string, OwnedValue | null>
  /** Its shape when it was moved, which onehop leaves alone: what it is compared with afterwards. */
  seen?: { type: string; ports: ServiceFacts['ports'] }
}

/** Exposes a Service by annotations, applied server-side as field manager `onehop`; its type stays as it is. */
export const annotateService = {
  /** What stands there now. @throws OnehopError service-missing */
  async read({ kubernetes }: Systems, service: ClusterService): Promise<ExposeState> {
    const facts = await kubernetes.service(service.namespace, service.object)
    if (!facts) throw new OnehopError('service-missing', { object: service.service })
    const keys = Object.keys(exposeAnnotations(service))
    const annotations = Object.fromEntries(keys.map((key) => [key, facts.annotations[key] ?? null]))
    const { namespace, name, uid, type, ports } = facts
    return { namespace, name, uid, annotations, seen: { type, ports } }
  },

  target(before: ExposeState, service: ClusterService): ExposeState {
    const annotations = Object.fromEntries(
      Object.entries(exposeAnnotations(service)).map(([key, value]) => [key, { value, manager: 'onehop' }]),
    )
    return { ...before, annotations }
  },

  /**
   * Compare-and-swap: only if the Service is the one of `from` and holds its values (or already those of `to`), or by
   * `force`. An undo that finds nothing to undo writes all the same: an apply of ours that is still on its way, from a
   * worker that died, must find another version of the Service and be refused.
   *
   * @throws OnehopError service-missing, service-recreated, changed-by-others
   */
  async write({ kubernetes }: Systems, { from, to, undo, service, force = false }: Write): Promise<void> {
    const object = `${to.namespace}/${to.name}`
    const facts = sameObject(await kubernetes.service(to.namespace, to.name), to, service)
    if (holds(facts, to)) return undo ? kubernetes.fence(facts) : undefined
    // Key by key: an undo that died between its two writes has left some of each.
    const either = (key: string) =>
      [from, to].some((state) => facts.annotations[key]?.value === state.annotations[key]?.value)
    if (!force && !Object.keys(to.annotations).every(either)) {
      const found = textOf({ annotations: pick(facts.annotations, Object.keys(to.annotations)) })
      throw new OnehopError('changed-by-others', {
        what: `Service ${object}`,
        found,
        wanted: textOf(to),
        service,
      })
    }
    if (undo) return kubernetes.restoreAnnotations(facts, to.annotations)
    const values = Object.entries(to.annotations).flatMap(([key, owned]) =>
      owned ? [[key, owned.value] as const] : [],
    )
    return kubernetes.applyAnnotations(facts, Object.fromEntries(values))
  },
}

type Write = { from: ExposeState; to: ExposeState; undo: boolean; service: string; force?: boolean }

const textOf = ({ annotations }: Pick<ExposeState, 'annotations'>) =>
  Object.entries(annotations)
    .map(([key, owned]) => `${key}=${owned?.value ?? '(none)'}`)
    .join(' ')
const pick = (annotations: Record<string, OwnedValue>, keys: string[]) =>
  Object.fromEntries(keys.map((key) => [key, annotations[key] ?? null]))

const holds = (facts: ServiceFacts, state: ExposeState) =>
  Object.entries(state.annotations).every(([key, owned]) => facts.annotations[key]?.value === owned?.value)
