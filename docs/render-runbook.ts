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

- in \`onehop plan\`: the plan is shown without that system, and fails with \`plan-unread\`;
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
    "The tag of a service must be owned by the operator's own tag, or the operator cannot make its device. onehop sees to that where mesh.yaml names who may reach the service (`allow`).",
  'operator-deaf':
    'An operator without DNS is Running and Ready and does nothing at all. Its device on the tailnet is the only sign of life that counts.',
  'helm-failed': 'The namespace and the Secret were applied before; they are harmless and stay.',
  'caddy-file-not-running':
    'A switch edits the file and makes Caddy run the result. If both differ beforehand, this would also carry out an edit that somebody else has not loaded yet.',
  'caddy-variables-unknown':
    'Caddy replaces `{$NAME}` in a Caddyfile with a value from the environment of the process that reads the file. A shell that lacks the variable reads an empty value, and loading that would take a working site down. So onehop does not load such a file and does not ask you to load it. It continues once the file, read with the values that onehop has, is what Caddy runs. The values are where the service of Caddy is defined: `Environment=` and `EnvironmentFile=` of systemd (`systemctl cat caddy`), `EnvironmentVariables` of launchd, `environment` of Docker Compose.',
  'caddy-address-variable':
    'onehop finds a site by its address, in the file and in the config that Caddy runs. With a variable in it, the two addresses differ.',
  'caddy-removal-unhides':
    'Caddy hides a Caddyfile only from the file servers of those sites that have a line of their own in it. Where the folder of the Caddyfile is served, clients could then read it.',
  'caddy-edit-unexpected':
    '`caddy adapt` was asked for its JSON before and after the edit; something other than our upstreams differs.',
  'caddy-did-not-take': 'The file and what Caddy runs were put back in the same step.',
  'peer-unknown':
    'The device exists, but the tailscaled of this machine knows no way to it: mostly a policy without a grant.',
  'backend-differs':
    'Both paths answer, but not from the same place. Moving clients would split their data, so the service is rolled back at once.',
  'old-path-silent':
    'onehop never moves a service that it could not move back. A service without any old path cannot be moved by it.',
  'host-refused':
    'This is the answer (403) to an HTTP request to the worker. A web page can make a browser send requests here under a host name of its own (DNS rebinding), so only known names are answered.',
  'origin-refused':
    'This is the answer (403) to an HTTP request to the worker that a browser sent for a page of another site.',
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
  'policy-without-rules':
    'Such a policy lets every device reach every other. onehop does not decide for you whether that shall stay so.',
  'policy-changed-by-others':
    'Each line that onehop writes ends in a mark with the name of its service. It takes back only what it wrote; a line without a mark is yours, whoever wrote it.',
  'policy-not-confirmed':
    'A narrowed policy that locks somebody out must not stay by mistake: without a word from you the worker puts the old rules back, with the engine or without. With the worker stopped: onehop policy widen.',
  'policy-host-differs':
    'Mostly a machine was set up anew and has another address since; the rules that name it still let its old address in.',
  'policy-test-failed':
    "The policy's own tests (the file's and those that onehop adds) run before anything is written. A deny test of onehop's fails where a rule of yours lets that source through.",
  'scan-nothing-found':
    'Services with node ports that nothing on this machine is known to lead to stand in the draft as questions, each with the lines to uncomment. A mesh.yaml needs at least one service.',
  'docker-unreadable':
    '`onehop scan` goes on without Docker: the port maps are then guessed, and each guess is a question in the file that it writes.',
  'sockets-unreadable': 'Without it nothing can be shown to be unused, so nothing is retired.',
  'old-path-only-sampled':
    'A look at the sockets misses what opens and closes between two looks. Caddy counts every request, but only with `metrics` in the global options (Caddy before 2.9: `servers { metrics }`). It counts from zero after each reload that changes its config, and nothing at all after a reload that failed, so a time of quiet counts only from the first request that is seen after that, to whatever site.',
  'nodeport-taken':
    'The numbers were free while the Service was a ClusterIP, and another Service was given one of them.',
  'caddy-removal-leaks':
    'A catch-all or wildcard site, or a later directive of the same site, would take over the requests: they would reach a backend that they did not reach before.',
  'caddy-place-gone':
    'A route that was taken out leaves one comment line in its place, so that it can come back to exactly there. The bytes themselves are in the journal.',
  'soak-slow':
    'It is judged at the end of the soak, over all its proofs; of fewer than 100, p99 is the slowest. The port map is not judged: the move did not touch it. `onehop journal SERVICE` has the figures of every path.',
  'vantage-silent':
    'The machine was asked again every few seconds until `deadlines.proof` had passed: one that connects late still counts.',
  'vantage-failed':
    'It was asked after the switch, and its answer is kept with the attempt. A port that its own mesh.yaml does not have counts as failed.',
  'plan-moved':
    'The command compares what the plan was made of with what is there, and names each difference; the worker, which has only the hash, compares once more before the first change. Times, latencies, versions of objects, the lines of the Caddyfile, finalizers, annotations of others and further addresses of a device do not count. A request that has begun and failed has moved the world itself: rerun it without the plan.',
  'plan-unread':
    'The world has five parts: the cluster, the devices of the tailnet, its policy, the tailscaled of this machine, and Caddy. A part of which one question was refused or not answered is not read at all, so that what is there never looks as if it were missing. No change is listed for it; a service that needs it is `unknown`, and `unread` in its result names the parts. With `--json`, `result.problems` has each reason with its fix.',
  'plan-invalid':
    'The seal in the file shows a slip of the hand or a torn copy. It is no signature: whoever can write the file can make one.',
  'plan-foreign':
    'A saved plan names the mesh.yaml (by its path), the tailnet and the cluster (by the UID of its kube-system namespace) that it was made of.',
  internal: 'It is not tried again by itself.',
}

/** Where the kind is too general. */
const doneByCode: Partial<Record<ErrorCode, string>> = {
  'engine-unreachable': 'Nothing: the command only sends an event, and could not.',
  'engine-refused': 'Nothing: the command only sends an event, and could not.',
  'request-goes-on': 'Nothing by itself: the worker goes on as if the command still watched.',
  'rollback-interrupted': 'What the command has printed as done. The journal knows it.',
  'kubeconfig-unreadable': 'Nothing: the cluster was not asked.',
  'engine-cannot-call-worker': 'It has sent the event. Nothing was changed yet.',
  'scan-nothing-found': 'Nothing: scan only reads, and wrote no file.',
  'docker-unreadable': 'Nothing: scan only reads.',
  'port-taken': 'Nothing: the worker did not start.',
  'check-failed': 'Nothing: a check only looks.',
  'helm-missing': 'Nothing: a check only looks.',
  'request-in-progress': 'Nothing: this request did not begin.',
  'request-stale': 'Nothing: this request did not begin.',
  'rollback-pending': 'Nothing: this request did not begin.',
  'nothing-to-undo': 'Nothing: this request did not begin.',
  'attempt-superseded': 'Nothing: this attempt has written nothing since the later one began.',
  'plan-moved': 'Nothing: it is compared before the first change.',
  'plan-foreign': 'Nothing: no request was sent.',
  'plan-unread': 'Nothing: a plan only looks, and no file was written. `migrate` has sent no request.',
  'plan-unwritable': 'Nothing: an earlier file of that name is as it was.',
  'plan-blocked': 'Nothing: a plan only looks.',
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
