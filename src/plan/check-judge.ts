import { type ErrorDetails, type Failure, OnehopError } from '../errors.ts'
import type { CheckFacts } from './check-facts.ts'
import type { CheckId } from './check-table.ts'
import type { ClusterService, Mesh } from './mesh.ts'

/**
 * Whether a check holds: `good`, with what was found; a failure, with its own words and cure; or the details that fill the
 * words of the table. Nothing where it does not apply.
 */
export type Judge = (view: View) => Verdict | undefined
export type ServiceJudge = (view: View, service: ClusterService) => Verdict | undefined
export type Verdict = { good: string } | { failure: Failure } | { details: ErrorDetails }

/** What a judge sees. `before` is set for what must hold before a first move. */
export type View = {
  mesh: Mesh
  facts: CheckFacts
  before: boolean
  /** What preflight says of a service, or of everything. Judged once, however many checks are taken from it. */
  problems: (service?: ClusterService) => Failure[]
}

export const good = (found: string | number = ''): Verdict => ({ good: String(found) })
export const bad = (details: ErrorDetails = {}): Verdict => ({ details })
export const failed = (...error: ConstructorParameters<typeof OnehopError>): Verdict => ({
  failure: new OnehopError(...error).toJSON(),
})

/** The first of these failures, if there is one. */
export const unless = (failure: Failure | undefined, found = ''): Verdict =>
  failure ? { failure } : good(found)

/** Holds if it could be read. */
export const wasRead =
  (id: CheckId, found: (view: View) => string = () => ''): Judge =>
  (view) =>
    unless(view.facts.failures[id], found(view))
