import { styleText } from 'node:util'
import type { Failure } from '../errors.ts'
import type { Plan, PlannedChange, PlannedService, Sign } from './plan.ts'

/** A plan as people read it: ordered changes with the undo beside each, old and new URLs, and what stands in the way. */
export function renderPlan(plan: Plan): string {
  const lines: string[] = []
  if (plan.operator.changes.length > 0)
    lines.push(bold('operator'), ...plan.operator.changes.flatMap(renderChange), '')
  plan.waves.forEach((wave, index) => {
    lines.push(bold(`wave ${index + 1} of ${plan.waves.length}`), '')
    for (const name of wave) lines.push(...renderService(plan.services.find((each) => each.name === name)))
  })
  for (const each of plan.kept) lines.push(`${bold(each.name)}  kept`, `    ${each.why}`, '')
  for (const note of plan.notes) lines.push(`note: ${note}`)
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

function renderService(service: PlannedService | undefined): string[] {
  if (!service) return []
  const lines = [
    `${bold(service.name)}  ${service.changes.length === 0 ? 'nothing to change' : service.state}`,
  ]
  for (const { oldUrl, portMap, device } of service.paths)
    lines.push(
      `    ${oldUrl ?? portMap} -> ${device}${oldUrl ? '  (the old URL keeps its TLS; the device name has none)' : ''}`,
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
