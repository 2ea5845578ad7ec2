import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CheckId, checkIds, checkRow, type Group, type Only } from '../src/plan/check-table.ts'

/** docs/checks.md: the table of src/plan/check-table.ts for people. Pure; run as a script, this file writes the page. */
export const renderChecksPage =
  () => `<!-- Rendered from src/plan/check-table.ts by docs/render-checks.ts: edit those, then run node bootstrap.mjs docs/render-checks.ts -->
# Checks

\`onehop check\` looks whether all that onehop needs is there, and whether what is moved is as it must be. It touches nothing
and needs no engine. A tick (√) holds, a warning (‼) does not and stands in nobody's way, a cross (×) stands in the way.
Exit code 0 without a cross, 1 with one.

All systems are asked side by side, each question with a deadline (\`deadlines.check\` in mesh.yaml, 5 s; three times that
for lists and programs). A system that does not answer is one cross, in its own group. What depends on it is not looked at,
which is one warning in each other group.

- \`--pre\`: only what must hold before a first move, marked _before_ below.
- \`--wait [seconds]\`: looks again until there is no cross, 300 s if not said.
- \`--skip ID\`: leaves a check out, or one of a service as \`SERVICE/ID\`; once for each.
- \`--short\`: one line per group, and what does not hold.
- \`--json\`: \`result.groups\` with each check's \`id\`, \`status\`, \`why\`, \`cure\` and \`page\`; \`result.failed\` names the crosses.

The port map of a service that is moved is not asked: the worker would take that for somebody's use of its old path.

${groups().join('\n')}`

const titles: Record<Group, string> = {
  onehop: 'onehop on this machine',
  tailnet: 'The tailnet',
  policy: 'The policy',
  cluster: 'The cluster',
  operator: 'The operator',
  caddy: 'Caddy',
  engine: 'The engine and the worker',
  service: 'Each service',
}

function groups(): string[] {
  return (Object.keys(titles) as Group[]).map(
    (group) =>
      `## ${titles[group]}\n\n${checkIds
        .filter((id) => checkRow(id).group === group)
        .map(section)
        .join('\n')}`,
  )
}

function section(id: CheckId): string {
  const row = checkRow(id)
  const marks = [row.otherwise, ...(row.before ? ['before'] : []), ...(row.only ? [of[row.only]] : [])].join(
    ', ',
  )
  const cure =
    'codes' in row
      ? `Fails by ${row.codes.map((code) => `[${code}](runbook/${code}.md)`).join(', ')}.`
      : `Otherwise: ${escaped(row.why)}.${row.cure === '{cure}' ? '' : ` Cure: \`${row.cure}\``}`
  const needs = row.needs.length > 0 ? ` Needs ${row.needs.map((each) => `\`${each}\``).join(', ')}.` : ''
  const title = row.title.charAt(0).toUpperCase() + row.title.slice(1)
  return `### ${id}\n\n${title} (${marks}). ${cure}${needs}\n`
}

const of: Record<Only, string> = {
  moved: 'of what is moved or retired',
  unmoved: 'of what is not moved and has an old path',
  routed: 'of what has routes that are not retired',
  https: 'in mode https',
}

const escaped = (text: string) => text.replaceAll('*', '\\*')

if (import.meta.main) writeFileSync(join(import.meta.dirname, 'checks.md'), renderChecksPage())
