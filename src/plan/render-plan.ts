import { styleText } from 'node:util'
import type { Failure } from '../errors.ts'
import type { Plan, PlannedChange, PlannedService, Sign } from './plan.ts'

/**
 * A plan as people read it: ordered changes with the undo beside each, old and new URLs, and what stands in the way. Services
 * that are where they should be, and differences that mean nothing, are named in a line and not shown one by one.
 */
export function renderPlan(plan: Plan): string {
  const lines: string[] = []
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
  if (plan.problems.length > 0)
    lines.push('', bold('in the way of everything'), ...plan.problems.flatMap(renderProblem))
  lines.push('', summary(plan))
  return lines.join('\n')
}

/** How many changes a plan holds, and how many services cannot be moved as things are. */
export function countPlan(plan: Plan): { changes: number; blocked: number } {
  const changes =
    plan.operator.changes.length + plan.services.reduce((sum, each) => sum + each.changes.length, 0)
  return {
    changes,
    blocked:
      plan.problems.length > 0
        ? plan.services.length
        : plan.services.filter((each) => each.problems.length > 0).length,
  }
}

const bold = (text: string) => styleText('bold', text)
const colors = { '+': 'green', '~': 'yellow', '-': 'red' } as const satisfies Record<Sign, string>

const isFolded = ({ state, changes, problems }: PlannedService) =>
  (state === 'moved' || state === 'retired') && changes.length === 0 && problems.length === 0

function foldedLines({ services }: Plan): string[] {
  return ['moved', 'retired'].flatMap((state) => {
    const names = services.filter((each) => each.state === state && isFolded(each)).map((each) => each.name)
    const count = names.length === 1 ? '1 service is' : `${names.length} services are`
    return names.length > 0 ? [`${count} ${state} already: ${names.join(', ')}`] : []
  })
}

const some = (names: string[]) =>
  names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ')

function renderService(service: PlannedService): string[] {
  const lines = [
    `${bold(service.name)}  ${service.changes.length === 0 ? 'nothing to change' : service.state}`,
  ]
  for (const { oldUrl, portMap, device } of service.paths)
    lines.push(
      `    ${oldUrl ?? portMap ?? '(no old path)'} -> ${device}${oldUrl ? '  (the old URL keeps its TLS; the device name has none)' : ''}`,
    )
  lines.push(
    ...service.changes.flatMap(renderChange),
    ...service.notes.map((note) => `    note: ${note}`),
    ...service.problems.flatMap(renderProblem),
    '',
  )
  return lines
}

const renderChange = ({ sign, what, undo }: PlannedChange) => [
  `  ${styleText(colors[sign], `${sign} ${what}`)}`,
  styleText('dim', `      undo: ${undo}`),
]

const renderProblem = ({ code, message, fix }: Failure) => [
  styleText('red', `  x ${message}  [${code}]`),
  `      cure: ${fix}`,
]

function summary(plan: Plan): string {
  const { changes, blocked } = countPlan(plan)
  if (changes === 0 && blocked === 0) return 'Nothing to do: the mesh is as mesh.yaml wants it.'
  return `${changes} changes, each with its undo; ${blocked} of ${plan.services.length} services blocked. Nothing was touched.`
}
