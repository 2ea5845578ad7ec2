import { styleText } from 'node:util'
import type { Checked, CheckedGroup, CheckStatus } from './checks.ts'

/** The checks as people read them, group by group; with `short`, one line per group and what does not hold. */
export function renderChecks(groups: CheckedGroup[], { short = false }: { short?: boolean } = {}): string {
  const lines = groups.flatMap((group) =>
    short
      ? [shortLine(group), ...group.checks.filter(isBad).flatMap(renderChecked), ...unseenLines(group)]
      : [bold(group.name), ...group.checks.flatMap(renderChecked), ...unseenLines(group), ''],
  )
  const { ticks, warnings, crosses } = countChecks(groups)
  const sum = `${ticks} good, ${plural(warnings, 'warning')}, ${plural(crosses, 'cross', 'crosses')}`
  return [...lines, ...(short ? [''] : []), `${sign(worst(groups))} ${sum}. Nothing was touched.`].join('\n')
}

/** What is not looked at counts as one warning of its group. */
export function countChecks(groups: CheckedGroup[]): { ticks: number; warnings: number; crosses: number } {
  const all = groups.flatMap(({ checks }) => checks)
  const count = (status: CheckStatus) => all.filter((each) => each.status === status).length
  const unseen = groups.filter((each) => each.unseen).length
  return { ticks: count('tick'), warnings: count('warning') + unseen, crosses: count('cross') }
}

const signs = {
  tick: ['green', '√'],
  warning: ['yellow', '‼'],
  cross: ['red', '×'],
} as const satisfies Record<CheckStatus, readonly [string, string]>

const sign = (status: CheckStatus) => {
  const [colour, text] = signs[status]
  return styleText(colour, text)
}
const bold = (text: string) => styleText('bold', text)
const dim = (text: string) => styleText('dim', text)

const isBad = ({ status }: Checked) => status !== 'tick'
const worst = (groups: CheckedGroup[]): CheckStatus =>
  (['cross', 'warning'] as const).find((each) => groups.some(({ status }) => status === each)) ?? 'tick'

function renderChecked({ id, title, status, why, cure, page }: Checked): string[] {
  if (status === 'tick') return [`  ${sign(status)} ${id}  ${dim(why ? `${title}: ${why}` : title)}`]
  return [
    `  ${sign(status)} ${id}  ${why}`,
    ...(cure ? [`      fix: ${cure}`] : []),
    ...(page ? [dim(`      more: ${page}`)] : []),
  ]
}

function unseenLines({ unseen }: CheckedGroup): string[] {
  return unseen
    ? [`  ${sign('warning')} ${unseen.why}  ${dim(`(${plural(unseen.checks.length, 'check')})`)}`]
    : []
}

function shortLine({ name, status, checks, unseen }: CheckedGroup): string {
  const good = checks.filter((each) => !isBad(each)).length
  return `${sign(status)} ${name}  ${dim(`${good} of ${checks.length + (unseen?.checks.length ?? 0)}`)}`
}

const plural = (count: number, one: string, many = `${one}s`) => `${count} ${count === 1 ? one : many}`
