/**
 * What goes wrong, in one table. `docs/runbook/<code>.md` is rendered from it, and a test keeps both equal.
 * `message` and `fix` name their details in braces.
 *
 * kind decides the exit code and whether Inngest may try again:
 *   input    the event, mesh.yaml or flag is wrong: nothing was touched, never retried, exit 2
 *   refused  the world is not as it must be: nothing was touched, never retried, exit 1
 *   proof    a change was made and did not bring what it should: that service is rolled back
 *   system   a system could not be reached or failed: retried while nothing has been changed
 */
export type ErrorKind = 'input' | 'refused' | 'proof' | 'system'

const table = {
  'mesh-unreadable': {
    kind: 'input',
    message: 'cannot read {file}: {message}',
    fix: 'name the file with --mesh FILE or ONEHOP_MESH',
  },
  'mesh-invalid': {
    kind: 'input',
    message: '{file}: {problems}',
    fix: 'correct the named path in mesh.yaml; nothing was touched',
  },
  'event-invalid': {
    kind: 'input',
    message: '{event}: {problems}',
    fix: 'send the event again with data as in inngest.config.ts',
  },
  'flag-invalid': { kind: 'input', message: '{message}', fix: 'onehop {command} --help' },
  'service-unknown': {
    kind: 'input',
    message: 'mesh.yaml has no service named "{service}"; it has {known}',
    fix: 'onehop plan',
  },
  'credentials-missing': {
    kind: 'refused',
    message: 'cannot read the credential {file}: {message}',
    fix: 'write the value to that file (mode 0600), without quotes',
  },
  'kubernetes-unreachable': {
    kind: 'system',
    message: 'the cluster of context {context} does not answer: {message}',
    fix: 'kubectl --context {context} get nodes',
  },
  'kubernetes-context-unknown': {
    kind: 'refused',
    message: 'the kubeconfig has no context "{context}"; it has {known}',
    fix: 'set kubernetes.context in mesh.yaml to one of these',
  },
  'kubernetes-refused': {
    kind: 'refused',
    message: 'the cluster refused {action}: {message}',
    fix: 'kubectl --context {context} auth can-i --list',
  },
  'cluster-changed': {
    kind: 'refused',
    message: '{service} belongs to cluster {expected}, but the kubeconfig now leads to {found}',
    fix: 'point kubernetes.context in mesh.yaml at the cluster that the journal names',
  },
  'service-missing': {
    kind: 'refused',
    message: 'there is no Service {object} in the cluster',
    fix: 'kubectl get services --all-namespaces',
  },
  'service-recreated': {
    kind: 'refused',
    message: 'Service {object} was deleted and made again ({expected} became {found})',
    fix: 'onehop rollback {service}, then expose it anew',
  },
  'service-headless': {
    kind: 'refused',
    message: 'Service {object} is headless (clusterIP: None); the operator cannot expose it',
    fix: 'give it a clusterIP, or make a second Service with one',
  },
  'service-port-missing': {
    kind: 'refused',
    message: 'Service {object} has no port {port}; it has {found}',
    fix: 'correct services.{service}.ports in mesh.yaml',
  },
  'endpoints-not-ready': {
    kind: 'refused',
    message: 'Service {object} has no ready endpoint for port {port}',
    fix: 'kubectl -n {namespace} get endpointslices,pods',
  },
  'namespace-not-privileged': {
    kind: 'refused',
    message: 'namespace {namespace} does not admit the privileged proxy pods (pod-security {label})',
    fix: 'onehop operator install, or: kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite',
  },
  'name-taken': {
    kind: 'refused',
    message: 'the name {hostname} is held by device {device} ({address}), last seen {seen}',
    fix: 'delete or rename that device in the Tailscale admin console, or choose another hostname in mesh.yaml',
  },
  'name-not-given': {
    kind: 'proof',
    message: 'the device came up as {found}, not as {hostname}: the name was taken in the meantime',
    fix: 'free the name {hostname} on the tailnet, then onehop expose {service}',
  },
  'tag-not-owned': {
    kind: 'refused',
    message: 'the policy does not let {owner} use {tag}',
    fix: 'add to tagOwners in the policy: "{tag}": ["{owner}"]',
  },
  'tailscale-unreachable': {
    kind: 'system',
    message: 'the Tailscale API at {url} does not answer: {message}',
    fix: 'check the network, then run the command again',
  },
  'tailscale-refused': {
    kind: 'refused',
    message: 'the Tailscale API refused {action} ({status}): {message}',
    fix: "check onehop's OAuth client: it needs policy_file:read, devices:core:read and dns:read",
  },
  'tailscaled-unreachable': {
    kind: 'refused',
    message: 'the tailscaled of this machine does not answer: {message}',
    fix: 'tailscale status',
  },
  'operator-down': {
    kind: 'refused',
    message: 'the operator in namespace {namespace} is not running: {message}',
    fix: 'kubectl -n {namespace} get pods; kubectl -n {namespace} logs deploy/operator',
  },
  'operator-deaf': {
    kind: 'refused',
    message: 'the operator runs, but its device is not on the tailnet ({message}): it can hear nobody',
    fix: 'look for DNS or egress trouble: kubectl -n {namespace} logs deploy/operator',
  },
  'secret-not-ours': {
    kind: 'refused',
    message: 'Secret {namespace}/{name} is there and not made by onehop',
    fix: 'it may hold the credentials of an earlier operator: save it, delete it, then run the command again',
  },
  'request-cancelled': {
    kind: 'refused',
    message:
      'the run of request {request} was cancelled or broke; what it left half done is being rolled back',
    fix: 'onehop status',
  },
  'helm-failed': {
    kind: 'refused',
    message: 'helm {action} failed: {message}',
    fix: 'helm -n {namespace} history {release}',
  },
  'caddy-unreachable': {
    kind: 'system',
    message: "Caddy's admin API at {admin} does not answer: {message}",
    fix: 'start Caddy, then run the command again',
  },
  'caddy-too-old': {
    kind: 'refused',
    message: 'Caddy {found} is too old; onehop needs {expected}',
    fix: 'upgrade Caddy',
  },
  'caddy-missing': {
    kind: 'refused',
    message: 'cannot run "{bin}": {message}',
    fix: 'put the caddy that you run on PATH, or set caddy.bin in mesh.yaml',
  },
  'caddy-file-unreadable': {
    kind: 'refused',
    message: 'cannot use the Caddyfile {file}: {message}',
    fix: 'check the path caddy.file in mesh.yaml and its permissions',
  },
  'caddy-file-not-running': {
    kind: 'refused',
    message: 'Caddy does not run what {file} says (first difference: {path})',
    fix: 'look at it, then: caddy reload --config {file}',
  },
  'caddy-route-not-found': {
    kind: 'refused',
    message: '{file} has no upstream {upstream} in site {site}',
    fix: 'correct routes in mesh.yaml, or see all matches: onehop caddy preview --file {file} --from {upstream} --to new:1',
  },
  'caddy-route-not-in-file': {
    kind: 'refused',
    message: 'site {site} reaches {upstream} by an import or snippet, not in its own block of {file}',
    fix: 'write the reverse_proxy line into the site block itself; onehop edits only that',
  },
  'caddy-edit-refused': {
    kind: 'refused',
    message: 'Caddy refuses the file: {message}',
    fix: 'caddy adapt --config {file}',
  },
  'caddy-edit-unexpected': {
    kind: 'refused',
    message: 'the edit of {file} would change more than the upstreams: {path} ({found})',
    fix: 'nothing was written; report the Caddyfile lines around that site',
  },
  'caddy-tokens-changed': {
    kind: 'refused',
    message: '{file}:{line} site {site} goes to {found}, neither {from} nor {to}: somebody else changed it',
    fix: 'look at that line; onehop leaves it alone',
  },
  'caddy-did-not-take': {
    kind: 'proof',
    message: 'Caddy did not take the new routes ({message}); the old ones were put back',
    fix: 'caddy validate --config {file}',
  },
  'device-not-ready': {
    kind: 'proof',
    message: 'no device for {service} in the time allowed: {message}',
    fix: 'kubectl -n {namespace} get pods -l tailscale.com/parent-resource={object}',
  },
  'proxy-pod-stuck': {
    kind: 'proof',
    message: 'the proxy pod of {service} does not start: {message}',
    fix: 'check its image, registry and ProxyClass: kubectl -n {namespace} describe pod -l tailscale.com/parent-resource={object}',
  },
  'peer-unknown': {
    kind: 'proof',
    message: 'the local tailscaled does not know {name} in the time allowed',
    fix: 'does the policy let this machine reach {tag}? tailscale status',
  },
  'dns-wrong': {
    kind: 'proof',
    message: '{resolver} answers {found} for {name}, expected {expected}',
    fix: 'tailscale dns status; is MagicDNS on and accepted on this machine?',
  },
  'dns-not-accepted': {
    kind: 'refused',
    message: '{resolver} of this machine answers {found} for {name}, a device that is on the tailnet',
    fix: 'tailscale set --accept-dns=true; is MagicDNS on in the admin console?',
  },
  'port-silent': {
    kind: 'proof',
    message: '{name}:{port} does not answer over the tailnet: {message}',
    fix: 'does the policy grant tcp:{port} on {tag}? does the pod listen there?',
  },
  'protocol-wrong': {
    kind: 'proof',
    message: '{name}:{port} accepts, but does not speak {protocol}: {message}',
    fix: 'correct services.{service}.probe in mesh.yaml, or look at the pod',
  },
  'backend-differs': {
    kind: 'proof',
    message: 'old and new path of {service} end in different backends ({old} and {new})',
    fix: 'look for a second Service or device of that name',
  },
  'old-path-silent': {
    kind: 'refused',
    message: 'the old path {path} of {service} does not answer even now: {message}',
    fix: 'mend the service or services.{service}.probe in mesh.yaml first; there would be nothing to fall back to',
  },
  'soak-failed': {
    kind: 'proof',
    message: '{service} failed {failures} of {probes} proofs while both paths were up; last: {message}',
    fix: 'onehop expose {service} once the cause is mended',
  },
  'changed-by-others': {
    kind: 'refused',
    message: '{what} is {found}, neither what was there before nor what onehop wrote',
    fix: 'somebody else changed it: look, and put it right by hand; onehop leaves it alone',
  },
  'undo-incomplete': {
    kind: 'proof',
    message: '{what} is not undone yet: {message}',
    fix: 'onehop rollback {service}',
  },
  'journal-unwritable': {
    kind: 'refused',
    message: 'cannot keep the journal in {folder}: {message}',
    fix: 'make the folder writable, or set state in mesh.yaml; nothing is changed without a journal',
  },
  'journal-invalid': {
    kind: 'refused',
    message: '{file} is not a journal that this version reads: {message}',
    fix: 'use the onehop version that wrote it; do not delete the file, it holds the undo',
  },
  'request-stale': {
    kind: 'refused',
    message: 'request {request} for {service} is stale: {newer} has ended since',
    fix: 'send a new request: onehop expose {service}',
  },
  'request-in-progress': {
    kind: 'refused',
    message: '{service} is being changed by request {request} (attempt {attempt})',
    fix: 'onehop status',
  },
  'attempt-superseded': {
    kind: 'refused',
    message: 'attempt {attempt} of {service} is no longer the current one ({current}); it changes nothing',
    fix: 'onehop status',
  },
  'rollback-pending': {
    kind: 'refused',
    message: '{service} is {state}; it has to be rolled back first',
    fix: 'onehop rollback {service}',
  },
  'nothing-to-undo': {
    kind: 'refused',
    message: 'the journal has no change of {service} to undo (state {state})',
    fix: 'onehop status',
  },
  'engine-unreachable': {
    kind: 'system',
    message: 'the Inngest server at {url} does not answer: {message}',
    fix: 'start it, or work without it: onehop rollback SERVICE --local',
  },
  'engine-refused': {
    kind: 'refused',
    message: 'the Inngest server at {url} refused the event ({status}): {message}',
    fix: 'check the event key (engine.eventKeyFile in mesh.yaml)',
  },
  'engine-cannot-call-worker': {
    kind: 'refused',
    message: 'the engine took the event but no worker picked up {request} within {seconds} s',
    fix: 'onehop worker (or: is it registered with this engine? curl http://{listen}/)',
  },
  'port-taken': {
    kind: 'refused',
    message: '{listen} is taken by {holder}',
    fix: "stop that process, or mount onehop's sub-app in it (docs/mount.md), or choose another worker.listen",
  },
  internal: {
    kind: 'system',
    message: '{message}',
    fix: 'this is a bug in onehop: please report it with the output of onehop status --json',
  },
} as const satisfies Record<string, { kind: ErrorKind; message: string; fix: string }>

export type ErrorCode = keyof typeof table
export type ErrorDetails = Record<string, string | number>

/** The table, for the runbook and its test. */
export const errorTable: Record<ErrorCode, { kind: ErrorKind; message: string; fix: string }> = table

/** An error of the table above, with its message and cure filled in. Its text survives JSON as `toJSON()`. */
export class OnehopError extends Error {
  override readonly name = 'OnehopError'
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly fix: string
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(fill(table[code].message, details), options)
    this.code = code
    this.kind = table[code].kind
    this.fix = fill(table[code].fix, details)
    this.details = details
  }

  toJSON(): Failure {
    return { code: this.code, kind: this.kind, message: this.message, fix: this.fix }
  }
}

/** An error as plain data: what steps return, the journal keeps and the CLI prints. */
export type Failure = { code: ErrorCode; kind: ErrorKind; message: string; fix: string }

/** The error that a failure was, once it has come back as plain data. */
export function fromFailure(failure: Failure): OnehopError {
  return Object.assign(new OnehopError(failure.code), failure)
}

/** The one border at which anything thrown becomes a coded error. */
export function toOnehopError(thrown: unknown): OnehopError {
  if (thrown instanceof OnehopError) return thrown
  return new OnehopError(
    'internal',
    { message: thrown instanceof Error ? thrown.message : String(thrown) },
    { cause: thrown },
  )
}

/** Anything thrown, in words: many network errors carry theirs only in `cause` or `errors`. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return messageOf(thrown.errors[0])
  if (!(thrown instanceof Error)) return String(thrown)
  if (thrown.message === '' || thrown.message === 'fetch failed')
    return thrown.cause ? messageOf(thrown.cause) : thrown.name
  return thrown.message
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (whole, key: string) =>
    key in details ? String(details[key]) : whole,
  )
}
