import { type Failure, fill } from '../errors.ts'
import { caddyChecks } from './check-caddy.ts'
import { clusterChecks } from './check-cluster.ts'
import { engineChecks } from './check-engine.ts'
import type { CheckFacts } from './check-facts.ts'
import type { Judge, ServiceJudge, Verdict, View } from './check-judge.ts'
import { onehopChecks } from './check-onehop.ts'
import { operatorChecks } from './check-operator.ts'
import { policyChecks } from './check-policy.ts'
import { isOne, serviceChecks } from './check-service.ts'
import { type CheckId, checkIds, checkRow, type Group } from './check-table.ts'
import { tailnetChecks } from './check-tailnet.ts'
import { type ClusterService, type Mesh, selectServices } from './mesh.ts'
import { preflightMesh, preflightService } from './preflight.ts'

/**
 * All checks, judged by what was read, in groups. Pure. A check that needs one which failed is not looked at: that is said
 * once per group, and not at all in the group in which the cause itself stands.
 */
export function judgeChecks(mesh: Mesh, facts: CheckFacts, asked: AskedChecks = {}): CheckedGroup[] {
  const { before = false, skip = [], names } = asked
  const view: View = { mesh, facts, before, problems: rememberedProblems(mesh, facts) }
  const general = new Map<CheckId, Outcome>()
  for (const id of checkIds)
    if (checkRow(id).group !== 'service')
      general.set(
        id,
        judge(id, general, () => judges[id]?.(view)),
      )
  const isShown = (id: CheckId, service = '') =>
    (checkRow(id).before || !before) && !skip.includes(id) && !skip.includes(`${service}/${id}`)
  const groups = groupNames.map((name) => {
    const own = [...general].filter(([id]) => checkRow(id).group === name && isShown(id))
    return grouped({ name }, own)
  })
  const services = selectServices(mesh, names).map((service) => {
    const outcomes = new Map(general)
    for (const id of checkIds)
      if (checkRow(id).group === 'service' && isAsked(id, view, service))
        outcomes.set(
          id,
          judge(id, outcomes, () => serviceJudges[id]?.(view, service), service),
        )
    const own = [...outcomes].filter(([id]) => checkRow(id).group === 'service' && isShown(id, service.name))
    return grouped({ name: `service ${service.name}`, service: service.name }, own)
  })
  return [...groups, ...services].filter(({ checks, unseen }) => checks.length > 0 || unseen)
}

export type AskedChecks = {
  /** Only what must hold before a first move. */
  before?: boolean
  /** Ids, or `service/id`, that are not shown; what needs them is still not looked at where they fail. */
  skip?: string[]
  /** Only these services. */
  names?: string[] | undefined
}
export type CheckStatus = 'tick' | 'warning' | 'cross'
export type CheckedGroup = {
  name: string
  service?: string
  status: CheckStatus
  checks: Checked[]
  /** What could not be looked at, and why. */
  unseen?: { why: string; checks: CheckId[] }
}
export type Checked = {
  id: CheckId
  title: string
  status: CheckStatus
  /** What was found, in one line; empty where there is no more to say than the title. */
  why: string
  cure?: string
  code?: Failure['code']
  /** The page that says more. */
  page?: string
}

type Outcome = Checked | { causes: CheckId[] } | undefined

const groupNames: Group[] = ['onehop', 'tailnet', 'policy', 'cluster', 'operator', 'caddy', 'engine']
const judges: Partial<Record<CheckId, Judge>> = {
  ...onehopChecks,
  ...tailnetChecks,
  ...policyChecks,
  ...clusterChecks,
  ...operatorChecks,
  ...caddyChecks,
  ...engineChecks,
}
const serviceJudges: Partial<Record<CheckId, ServiceJudge>> = serviceChecks
/** By which a test sees that each row of the table is judged. */
export const judgedIds = [...Object.keys(judges), ...Object.keys(serviceJudges)]

function isAsked(id: CheckId, view: View, service: ClusterService): boolean {
  const { only } = checkRow(id)
  return only === undefined || isOne(only, view, service)
}

/** Of the engine's own Service, these only follow where the engine does not answer. */
const ofTheEngine: CheckId[] = ['port-map-answers', 'device-answers']

function judge(
  id: CheckId,
  outcomes: Map<CheckId, Outcome>,
  look: () => Verdict | undefined,
  service?: ClusterService,
): Outcome {
  const { needs, follows = [] } = checkRow(id)
  const causesOf = (each: CheckId) => {
    const outcome = outcomes.get(each)
    if (!outcome) return []
    return 'causes' in outcome ? outcome.causes : outcome.status === 'cross' ? [each] : []
  }
  const needed = (needs as CheckId[]).flatMap(causesOf)
  const followed = [...(follows as CheckId[]), ...(service?.engine && ofTheEngine.includes(id) ? engine : [])]
    // What could not be looked at itself says nothing of what would follow from it.
    .filter((each) => isCross(outcomes.get(each)))
  const causes = [...new Set([...needed, ...followed])]
  if (causes.length > 0) return { causes }
  const verdict = look()
  return verdict && checked(id, verdict)
}

const engine: CheckId[] = ['engine-answers']
const isCross = (outcome: Outcome) =>
  outcome !== undefined && 'status' in outcome && outcome.status === 'cross'

function checked(id: CheckId, verdict: Verdict): Checked {
  const row = checkRow(id)
  const { title, otherwise } = row
  if ('good' in verdict) return { id, title, status: 'tick', why: verdict.good }
  if ('failure' in verdict) {
    const { message, fix, code } = verdict.failure
    const page = `docs/runbook/${code}.md`
    return { id, title, status: otherwise, why: oneLine(message), cure: fix, code, page }
  }
  const [why, cure] = 'why' in row ? [row.why, row.cure] : ['', '']
  return {
    ...{ id, title, status: otherwise, why: oneLine(fill(why, verdict.details)) },
    ...{ cure: fill(cure, verdict.details), page: `docs/checks.md#${id}` },
  }
}

const oneLine = (text: string) => text.replace(/\s*\n\s*/g, ' ')

function grouped(
  named: Pick<CheckedGroup, 'name' | 'service'>,
  own: Array<[CheckId, Outcome]>,
): CheckedGroup {
  const checks = own.flatMap(([, outcome]) => (outcome && 'status' in outcome ? [outcome] : []))
  const shown = new Set(checks.map(({ id }) => id))
  const unseen = own.flatMap(([id, outcome]) =>
    outcome && 'causes' in outcome && outcome.causes.some((each) => !shown.has(each))
      ? [{ id, causes: outcome.causes.filter((each) => !shown.has(each)) }]
      : [],
  )
  const reasons = [...new Set(unseen.flatMap(({ causes }) => causes))].map((each) => {
    const { down, title } = checkRow(each)
    return down ?? title
  })
  const status = (['cross', 'warning'] as const).find((each) => checks.some((one) => one.status === each))
  return {
    ...named,
    status: status ?? (unseen.length > 0 ? 'warning' : 'tick'),
    checks,
    ...(unseen.length > 0 && {
      unseen: { why: `not looked at: ${reasons.join('; ')}`, checks: unseen.map(({ id }) => id) },
    }),
  }
}

function rememberedProblems(mesh: Mesh, { snapshot }: CheckFacts): View['problems'] {
  const known = new Map<string, Failure[]>()
  // Of what is retired or was moved otherwise, preflight says no more than that; the rest is judged as before a move.
  const unmoved = { ...snapshot, journal: [] }
  return (service) => {
    const key = service?.name ?? ''
    const problems =
      known.get(key) ??
      (service
        ? [...preflightService(mesh, service, snapshot), ...preflightService(mesh, service, unmoved)]
        : preflightMesh(mesh, snapshot))
    known.set(key, problems)
    return problems
  }
}
