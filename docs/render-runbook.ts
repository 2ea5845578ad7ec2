import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ErrorCode, type ErrorKind, errorTable } from '../src/errors.ts'

/**
 * The runbook as Markdown by file name: a page for each entry of the error table, and the index `README.md`. Pure; run
 * as a script (`node bootstrap.mjs docs/render-runbook.ts`), this file writes the pages to docs/runbook.
 */
export function renderRunbook(): Record<string, string> {
  const codes = (Object.keys(errorTable) as ErrorCode[]).sort()
  const pages = codes.map((code) => [`${code}.md`, renderPage(code)] as const)
  return { ...Object.fromEntries(pages), 'README.md': renderIndex(codes) }
}

export const runbookFolder = join(import.meta.dirname, 'runbook')

function renderPage(code: ErrorCode): string {
  const { kind, message, fix } = errorTable[code]
  const { means, done, exit } = kinds[kind]
  const note = notes[code]
  return `${generated}
# ${code}

> ${message}

${message.includes('{') || fix.includes('{') ? 'Words in braces are filled in with what was found. ' : ''}Kind: **${kind}**.

## What it means

${means}${note ? `\n\n${note}` : ''}

## What onehop has done by then

${doneByCode[code] ?? done}

## What to do

> ${fix}

## Exit code

${doneByCode[code]?.startsWith('Nothing') ? '1' : exit}
`
}

const renderIndex = (codes: ErrorCode[]) => `${generated}
# Runbook

One page per error code. A failed command prints its code in brackets; with \`--json\` it is \`error.code\`.
The journal and the events keep the same code.

${(Object.keys(kinds) as ErrorKind[]).map((kind) => `- **${kind}**: ${kinds[kind].means}`).join('\n')}

${codes.map((code) => `- [${code}](${code}.md), ${errorTable[code].kind}: ${errorTable[code].message}`).join('\n')}
`

const generated =
  '<!-- Rendered from src/errors.ts by docs/render-runbook.ts: edit those, then run node bootstrap.mjs docs/render-runbook.ts -->'

const kinds: Record<ErrorKind, { means: string; done: string; exit: string }> = {
  input: {
    means: 'The command, the event or mesh.yaml says something that onehop cannot take.',
    done: 'Nothing: input is checked before anything is touched. It is not tried again by itself.',
    exit: '2',
  },
  refused: {
    means: 'The world is not as it must be for the next step, and trying again would not change that.',
    done: `Nothing for this step; it depends on when it came:

- in \`onehop plan\`, or in a migration's preflight: nothing of this service was touched;
- later in a migration: the service is rolled back by its journal entry, the others go on;
- in a rollback: the other changes of this service were taken back, and it stays \`rollback-incomplete\` until
  \`onehop rollback SERVICE\` can finish.`,
    exit: '1; 3 if a service was rolled back because of it.',
  },
  proof: {
    means: 'A change was made and did not bring what it should, seen from the client side.',
    done: `The service was rolled back: Caddy's tokens first, then the annotations; then it was proven that the device is
gone. The old path was there all the time. The other services of the wave go on. If the undo itself could not finish,
the state is \`rollback-incomplete\`, and the failure shown is why.`,
    exit: '3 when the service was rolled back; 1 if the rollback could not finish.',
  },
  system: {
    means: 'A system could not be reached, or failed.',
    done: `Tried again for some seconds, then given up; it depends on when it came:

- in \`onehop plan\`: the plan is shown without that system, and says so;
- in a migration's preflight: nothing of this service was touched;
- later in a migration: the service is rolled back by its journal entry;
- in a rollback: the service stays \`rollback-incomplete\` until \`onehop rollback SERVICE\` can finish.`,
    exit: '1; 3 if a service was rolled back because of it.',
  },
}

const readAnew =
  'mesh.yaml is read anew by every step. If it was broken while a migration ran, correct it, then run `onehop rollback SERVICE` for each service that `onehop status` shows as exposing.'

/** What the kind alone does not tell. */
const notes: Partial<Record<ErrorCode, string>> = {
  'mesh-unreadable': readAnew,
  'mesh-invalid': readAnew,
  'namespace-not-privileged':
    'The operator gives each exposed Service a privileged pod. Where a namespace has no pod-security label, Talos enforces `baseline`: the StatefulSet then fails, while the Service still says TailscaleProxyReady.',
  'name-taken':
    'The control server gives a second device of a name another one (`redis-1`), and nobody would notice. So onehop does not begin. After a cluster was rebuilt, the holder is usually the old, offline device.',
  'name-not-given': 'More waiting cannot mend this, so the service is rolled back at once.',
  'tag-not-owned':
    "The tag of a service must be owned by the operator's own tag, or the operator cannot make its device. onehop does not edit the policy.",
  'operator-deaf':
    'An operator without DNS is Running and Ready and does nothing at all. Its device on the tailnet is the only sign of life that counts.',
  'helm-failed': 'The namespace and the Secret were applied before; they are harmless and stay.',
  'caddy-file-not-running':
    'A switch edits the file and makes Caddy run the result. If both differ beforehand, this would also carry out an edit that somebody else has not loaded yet.',
  'caddy-edit-unexpected':
    '`caddy adapt` was asked for its JSON before and after the edit; something other than our upstreams differs.',
  'caddy-did-not-take': 'The file and what Caddy runs were put back in the same step.',
  'peer-unknown':
    'The device exists, but the tailscaled of this machine knows no way to it: mostly a policy without a grant.',
  'backend-differs':
    'Both paths answer, but not from the same place. Moving clients would split their data, so the service is rolled back at once.',
  'old-path-silent':
    'onehop never moves a service that it could not move back. A service without any old path cannot be moved by it.',
  'changed-by-others':
    'Undo is compare-and-swap: it writes only where it finds what onehop left, or what was there before.',
  'undo-incomplete':
    'Mostly the operator is down: only a running operator removes its device and finalizer. Nothing is lost: the journal keeps the change until it is proven undone.',
  'journal-unwritable': 'What cannot be written down cannot be undone, so it is not done.',
  'request-in-progress':
    'If that request will never end (its engine has lost it), `onehop rollback SERVICE` takes the service back and frees it.',
  'attempt-superseded':
    'A later attempt (a rollback, or a newer request) has taken over. The old one, which still ran or was rerun, is kept from writing.',
  'request-stale': 'A rerun of an old request must not undo what a newer one has done.',
  'cluster-changed':
    'The journal names clusters by the UID of their kube-system namespace, since the same context name may lead elsewhere tomorrow.',
  'engine-cannot-call-worker':
    'The event **is** in the engine: it will be carried out as soon as a worker is there. Do not send it a second time.',
  internal: 'It is not tried again by itself.',
}

/** Where the kind is too general. */
const doneByCode: Partial<Record<ErrorCode, string>> = {
  'engine-unreachable': 'Nothing: the command only sends an event, and could not.',
  'engine-refused': 'Nothing: the command only sends an event, and could not.',
  'engine-cannot-call-worker': 'It has sent the event. Nothing was changed yet.',
  'port-taken': 'Nothing: the worker did not start.',
  'request-in-progress': 'Nothing: this request did not begin.',
  'request-stale': 'Nothing: this request did not begin.',
  'rollback-pending': 'Nothing: this request did not begin.',
  'nothing-to-undo': 'Nothing: this request did not begin.',
  'attempt-superseded': 'Nothing: this attempt has written nothing since the later one began.',
  'undo-incomplete':
    'Every change of the service was tried. Those that could be taken back are; the one named here is not yet. The state is `rollback-incomplete`.',
}

if (process.argv[1] === import.meta.filename) {
  mkdirSync(runbookFolder, { recursive: true })
  for (const file of readdirSync(runbookFolder)) rmSync(join(runbookFolder, file))
  const pages = renderRunbook()
  for (const [file, text] of Object.entries(pages)) writeFileSync(join(runbookFolder, file), text)
  process.stdout.write(`${Object.keys(pages).length} pages\n`)
}
