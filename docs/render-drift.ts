import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DriftKind, driftKindNames, driftKinds, type Mend } from '../src/plan/drift-kinds.ts'

/** docs/drift.md: the table of src/plan/drift-kinds.ts for people. Pure; run as a script, this file writes the page. */
export const renderDriftPage =
  () => `<!-- Rendered from src/plan/drift-kinds.ts by docs/render-drift.ts: edit those, then run node bootstrap.mjs docs/render-drift.ts -->
# Drift

What is not as onehop left it, of everything that is moved or retired. \`onehop drift\` looks here and now and needs no
engine; the worker looks by a schedule (\`drift.cron\`, every 15 minutes) and at \`mesh/drift.check.requested\`.

A change of state is told once: \`mesh/drift.detected\`, \`mesh/drift.resolved\`, and a POST of both as JSON to the URL in
\`drift.webhookFile\`. What only follows from another drift of the same service is not told beside it. While something
cannot be read, nothing of it is said to be right again.

Nothing is repaired unless you say so: \`onehop drift --repair [KIND ...]\`, or in mesh.yaml \`drift.repair\` (\`true\` or a
list of kinds) and \`repair\` of a service, which comes before it. A repair writes a change of the journal again, so that a
rollback takes it back like the first; it takes the place of what somebody put there, and of nothing beside it. What was
repaired three times within an hour and is there again is left to you, as critical.

A difference that is meant is named in \`drift.known\`, as a kind or as \`kind subject\`: it is folded away.

## Kinds

${driftKindNames.map(row).join('\n')}
`

function row(kind: DriftKind): string {
  const { severity, means, mend } = driftKinds[kind]
  const repair = mend === null ? 'none' : repairs[mend]
  return `- \`${kind}\` (${severity}): ${means.replaceAll('*', '\\*')}. Repair: ${repair}.`
}

const repairs: Record<Mend, string> = {
  'again:expose': 'the annotations again',
  'again:switch': 'the route to the device name again, one reload',
  'again:allow': "onehop's entries again",
  'again:type': 'a NodePort is made a ClusterIP again',
  'again:route': 'out of the file again, one reload',
  anew: 'rolled back, then moved again (not where it is retired, nor while the operator is not at work)',
  operator: "the operator's parts again, where onehop installed it",
  secret: 'the Secret from the credential files again',
  books: 'the block anew',
}

if (import.meta.main) writeFileSync(join(import.meta.dirname, 'drift.md'), renderDriftPage())
