import { styleText } from 'node:util'
import type { Failure } from '../errors.ts'
import type { Plan, PlannedChange, PlannedService, Sign } from './plan.ts'
import { groupBy } from './remember.ts'
import { namesOf } from './snapshot.ts'

/**
 * A plan as people read it: first what blocks it, each reason with its fix; then the ordered changes with the undo beside
 * each, and old and new URLs. Services that are where they should be, those of which nothing is known, and differences
 * that mean nothing are named in a line and not shown one by one.
 */
export function renderPlan(plan: Plan): string {
  const lines: string[] = [...renderBlocked(plan)]
  if (plan.unread.length > 0)
    lines.push(
      `This plan is incomplete: ${namesOf(plan.unread)} could not be read. No change is listed for what was not read.`,
      '',
    )
  if (plan.operator.changes.length > 0)
    lines.push(bold('operator'), ...plan.operator.changes.flatMap(renderChange), '')
  const services = new Map(plan.services.map((each) => [each.name, each]))
  plan.waves.forEach((wave, index) => {
    const shown = wave.flatMap((name) => services.get(name) ?? []).filter((each) => !isFolded(each))
    if (shown.length > 0)
      lines.push(bold(`wave ${index + 1} of ${plan.waves.length}`), '', ...shown.flatMap(renderService))
  })
  for (const each of plan.kept) lines.push(`${bold(each.name)}  kept`, `    ${each.why}`, '')
  const folded = foldedLines(plan)
  if (folded.length > 0) lines.push(...folded, '')
  for (const note of plan.notes) lines.push(`note: ${note}`)
  for (const { what, where } of plan.harmless) lines.push(`harmless: ${what}: ${some(where)}`)
  lines.push('', summary(plan))
  return lines.join('\n')
}

/** What blocks every service, and then each; nothing where nothing does. */
export function renderBlocked({ problems, services }: Pick<Plan, 'problems' | 'services'>): string[] {
  const lines = [
    ...problems.flatMap((each) => renderProblem(each)),
    ...services.flatMap((service) => service.problems.flatMap((each) => renderProblem(each, service.name))),
  ]
  return lines.length > 0 ? [bold('Blocked: fix these first'), ...lines, ''] : []
}

/** How many changes a plan holds, and how many services cannot be moved as things are. */
export function countPlan(plan: Plan): { changes: number; blocked: number } {
  const changes =
    plan.operator.changes.length + plan.services.reduce((sum, each) => sum + each.changes.length, 0)
  const isAllBlocked = plan.problems.length > 0 || plan.unread.length > 0
  return {
    changes,
    blocked: isAllBlocked
      ? plan.services.length
      : plan.services.filter((each) => each.problems.length > 0).length,
  }
}

const bold = (text: string) => styleText('bold', text)
const colors = { '+': 'green', '~': 'yellow', '-': 'red' } as const satisfies Record<Sign, string>

/** Nothing to change, nothing in its way: settled, or not known. */
const isFolded = ({ state, unread, changes, problems }: PlannedService) =>
  changes.length === 0 &&
  problems.length === 0 &&
  (unread.length > 0 || state === 'moved' || state === 'retired')

function foldedLines({ services }: Plan): string[] {
  const folded = services.filter(isFolded)
  const settled = ['moved', 'retired'].flatMap((state) => {
    const names = folded
      .filter((each) => each.state === state && each.unread.length === 0)
      .map((each) => each.name)
    const count = names.length === 1 ? '1 service is' : `${names.length} services are`
    return names.length > 0 ? [`${count} ${state} already: ${names.join(', ')}`] : []
  })
  const unknown = groupBy(
    folded.filter(({ unread }) => unread.length > 0),
    ({ state, unread }) =>
      `${state === 'unknown' ? state : `${state} by the journal alone`}, because ${namesOf(unread)} could not be read`,
  )
  return [
    ...settled,
    ...[...unknown].map(([why, all]) => `${why}: ${all.map(({ name }) => name).join(', ')}`),
  ]
}

const some = (names: string[]) =>
  names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ')

function renderService(service: PlannedService): string[] {
  const lines = [`${bold(service.name)}  ${headingOf(service)}`]
  for (const { oldUrl, portMap, device } of service.paths)
    lines.push(
      `    ${oldUrl ?? portMap ?? '(no old path)'} -> ${device}${oldUrl ? '  (the old URL keeps its TLS; the device name has none)' : ''}`,
    )
  lines.push(
    ...service.changes.flatMap(renderChange),
    ...(service.unread.length > 0 ? [`    not read: ${namesOf(service.unread)}`] : []),
    ...service.notes.map((note) => `    note: ${note}`),
    '',
  )
  return lines
}

function headingOf({ state, unread, changes, problems }: PlannedService): string {
  if (problems.length > 0) return `${state}, blocked: ${problems.map(({ code }) => code).join(', ')}`
  return changes.length === 0 && unread.length === 0 ? 'nothing to change' : state
}

const renderChange = ({ sign, what, undo }: PlannedChange) => [
  `  ${styleText(colors[sign], `${sign} ${what}`)}`,
  styleText('dim', `      undo: ${undo}`),
]

const renderProblem = ({ code, message, fix }: Failure, service?: string) => [
  styleText('red', `  x ${service === undefined ? '' : `${service}: `}${message}  [${code}]`),
  `      fix: ${fix}`,
]

function summary(plan: Plan): string {
  const { changes, blocked } = countPlan(plan)
  const found = changes === 1 ? '1 change' : `${changes} changes`
  const stopped = `${blocked} of ${plan.services.length} services blocked`
  if (plan.unread.length > 0)
    return `Incomplete: ${found} in what could be read; ${stopped}. Nothing was touched.`
  if (changes === 0 && blocked === 0 && plan.problems.length === 0)
    return 'Nothing to do: the mesh is as mesh.yaml wants it.'
  return `${found}, each with its undo; ${stopped}. Nothing was touched.`
}
