import { isSilence } from './in-time.ts'
import { shown } from './plan/json.ts'

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
    fix: 'name the file with --mesh FILE or ONEHOP_MESH; to make a first one: onehop scan --out mesh.yaml',
  },
  'mesh-invalid': {
    kind: 'input',
    message: '{file}: {problems}',
    fix: 'correct the named path in mesh.yaml; nothing was touched',
  },
  'simulated-world-unreadable': {
    kind: 'input',
    message: 'mesh.yaml names the simulated world {folder}, which cannot be read: {message}',
    fix: 'make a new one with npm run demo, or remove the key "simulated" from mesh.yaml to work on the real systems',
  },
  'simulated-world-busy': {
    kind: 'refused',
    message: 'another onehop command is using the simulated world {folder}',
    fix: 'wait until that command has ended (one that was killed counts for ten seconds), then run this one again',
  },
  'simulated-unsupported': {
    kind: 'input',
    message: 'onehop {command} works on real systems only, and mesh.yaml names the simulated world {folder}',
    fix: 'every command but check, worker and probe works on a simulated world',
  },
  'event-invalid': {
    kind: 'input',
    message: '{event}: {problems}',
    fix: 'send the event again with data as in inngest.config.ts',
  },
  'command-unknown': { kind: 'input', message: '{message}', fix: 'onehop --help' },
  'flag-invalid': { kind: 'input', message: '{message}', fix: 'onehop {command} --help' },
  'not-confirmed': {
    kind: 'refused',
    message: 'not confirmed: nothing was touched',
    fix: 'run onehop {command} again and answer yes, or pass --yes',
  },
  'service-unknown': {
    kind: 'input',
    message: 'mesh.yaml has no service named "{service}"; it has {known}',
    fix: 'onehop plan',
  },
  'service-name-invalid': {
    kind: 'input',
    message:
      'no service can be named {service}: expected a DNS label (a-z, 0-9 and inner hyphens, at most 63)',
    fix: 'onehop status',
  },
  'host-refused': {
    kind: 'input',
    message: 'the worker does not answer requests for the host {host}',
    fix: 'ask for it by an address of its own, or add that name to worker.hosts in mesh.yaml and restart the worker',
  },
  'origin-refused': {
    kind: 'input',
    message: 'the worker does not answer requests that a page of another site makes ({origin})',
    fix: "open the worker's own address, or ask from a program",
  },
  'scan-file-exists': {
    kind: 'input',
    message: '{file} is there already, and scan overwrites nothing',
    fix: 'name another file with --out, or add --force',
  },
  'scan-nothing-found': {
    kind: 'refused',
    message: '{where} of context {context} has no Service that a port of this machine is known to lead to',
    fix: 'answer the questions of the draft above (onehop scan without --out shows it); kubectl --context {context} get services --all-namespaces',
  },
  'docker-unreadable': {
    kind: 'system',
    message: 'cannot ask Docker for its port maps: {message}',
    fix: 'docker ps',
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
    fix: 'set kubernetes.context in mesh.yaml (onehop scan: --context) to one of these',
  },
  'kubeconfig-unreadable': {
    kind: 'refused',
    message: 'cannot read the kubeconfig ({file}): {message}',
    fix: 'name a kubeconfig that can be read: kubernetes.kubeconfig in mesh.yaml, --kubeconfig for onehop scan, or KUBECONFIG',
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
  'https-not-enabled': {
    kind: 'proof',
    message: 'the device of {service} got no certificate: HTTPS is not enabled for {tailnet}',
    fix: 'enable HTTPS certificates in the admin console (DNS), then onehop expose {service}; or leave out mode: https',
  },
  'ingress-taken': {
    kind: 'refused',
    message: 'Ingress {ingress} is there, and onehop did not make it',
    fix: 'give {service} another name in mesh.yaml, or delete that Ingress; then onehop plan',
  },
  'certificates-spent': {
    kind: 'refused',
    message:
      '{service} was exposed {times} times in the last seven days: the authority makes at most {limit} certificates a week for one name',
    fix: 'wait until {until}, or give {service} another hostname in mesh.yaml',
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
    fix: "check onehop's OAuth client: it needs policy_file, devices:core:read and dns:read",
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
    fix: 'start Caddy by its own service, which has its environment, then run the command again',
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
    kind: 'system',
    message: 'cannot use the Caddyfile {file}: {message}',
    fix: 'check the path caddy.file in mesh.yaml and its permissions',
  },
  'caddy-file-not-running': {
    kind: 'refused',
    message: 'Caddy does not run what {file} says (first difference: {path})',
    fix: 'decide which of the two is right: caddy adapt --config {file} shows the one, curl {admin}/config/ the other; make them equal, then run the command again',
  },
  'caddy-variables-unknown': {
    kind: 'refused',
    message:
      "{file} takes values from the environment of Caddy's own process, which onehop cannot see: {variables}; {message}",
    fix: "give these variables the values that Caddy's service has, to the onehop worker and in the shell of this command, then run the command again; if they have them already, the file itself is not what Caddy runs: make them equal",
  },
  'caddy-address-variable': {
    kind: 'refused',
    message:
      '{file}:{line} writes the address of site {site} with a variable of the environment: onehop cannot tell there which site of Caddy it is',
    fix: "write its value in place of the variable, in that line and in routes of mesh.yaml; with the value that Caddy's service has, Caddy's config stays the same and nothing has to be loaded",
  },
  'caddy-route-not-found': {
    kind: 'refused',
    message: '{file} has no upstream {upstream} in site {site} ({where})',
    fix: 'correct routes in mesh.yaml, or see all matches: onehop caddy preview --file {file} --from {upstream} --to new:1',
  },
  'caddy-route-not-in-file': {
    kind: 'refused',
    message:
      'site {site} reaches {upstream} by an import, a snippet or a variable, not as written in its own block of {file} ({where})',
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
    fix: 'look at that line; onehop leaves it alone, unless: onehop rollback SERVICE --force',
  },
  'caddy-did-not-take': {
    kind: 'proof',
    message: 'Caddy did not take the new routes ({message}); the old ones were put back',
    fix: 'remove the cause that Caddy names (its log says more), then run the command again',
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
    fix: 'mend the service or services.{service}.probe in mesh.yaml first; there would be nothing to fall back to. One that never had an old path: services.{service}.oldPath: none',
  },
  'soak-failed': {
    kind: 'proof',
    message: '{service} failed {failures} of {probes} proofs while both paths were up; last: {message}',
    fix: 'onehop expose {service} once the cause is mended',
  },
  'changed-by-others': {
    kind: 'refused',
    message: '{what} is {found}: somebody else changed it; onehop would put back {wanted}',
    fix: 'look at it; leave it so, or put it back all the same: onehop rollback {service} --force',
  },
  'undo-incomplete': {
    kind: 'proof',
    message: '{what} is not undone yet: {message}',
    fix: 'onehop rollback {service}',
  },
  'journal-unwritable': {
    kind: 'system',
    message: 'cannot keep the journal in {folder}: {message}',
    fix: 'make the folder writable, or set state in mesh.yaml; nothing is changed without a journal',
  },
  'journal-invalid': {
    kind: 'refused',
    message: '{file} is not a journal that this version reads: {message}',
    fix: 'use the onehop version that wrote it; do not delete the file, it holds the undo',
  },
  'not-moved': {
    kind: 'refused',
    message: '{service} is {state}; only the old path of a moved service can be retired',
    fix: 'onehop expose {service}',
  },
  'already-retired': {
    kind: 'refused',
    message: '{service} is {state}: its old path is gone, and there is nothing to move',
    fix: 'onehop status; to begin anew: onehop rollback {service}',
  },
  'engine-goes-last': {
    kind: 'refused',
    message: 'the old path of the engine is still needed: {why}',
    fix: 'see to that first, then: onehop retire {service}',
  },
  'device-fell-silent': {
    kind: 'proof',
    message:
      '{name} of {service} was silent {times} times while its port map answers ({message}); Caddy leads to the port map again',
    fix: 'mend the device, then onehop expose {service}; or give it up: onehop rollback {service}',
  },
  'journal-newer': {
    kind: 'refused',
    message: '{file} was written by a newer onehop (version {version} of the journal)',
    fix: 'use that newer version; do not delete the file, it holds the undo',
  },
  'journal-locked': {
    kind: 'system',
    message: '{file} is held by {holder}',
    fix: 'wait for it, or stop that process',
  },
  'request-superseded': {
    kind: 'refused',
    message:
      'the run of request {request} was given up, or another run has taken it over; this one does nothing more',
    fix: 'onehop status',
  },
  'request-aborted': {
    kind: 'refused',
    message: 'request {request} was asked to stop; what was not yet moved is rolled back',
    fix: 'onehop migrate',
  },
  'run-lost': {
    kind: 'system',
    message:
      'the run of request {request} was last heard of in "{phase}" and missed its deadline ({deadline}): the engine has forgotten it',
    fix: 'onehop status; a running worker takes it up by itself, without one: onehop rollback SERVICE --local',
  },
  'request-goes-on': {
    kind: 'system',
    message: '{event} goes on in the worker: this command only watched its request {request}',
    fix: 'onehop status shows it; to stop a migration: onehop abort {request}',
  },
  'simulated-request-stopped': {
    kind: 'system',
    message: '{event} stopped with this command: a simulated world has no worker of its own',
    fix: 'onehop rollback --all --local takes back what it has begun',
  },
  'rollback-interrupted': {
    kind: 'system',
    message: 'interrupted while {phase}: what was taken back before stays taken back',
    fix: 'run the same command again: it goes on from there',
  },
  'nothing-to-abort': {
    kind: 'refused',
    message: 'no migration is running (asked for: {request})',
    fix: 'onehop status',
  },
  'force-code-invalid': {
    kind: 'refused',
    message: 'the code for this forced action ({action}) is unknown, used or older than ten minutes',
    fix: 'run the command with --force again; it writes a code of its own',
  },
  'moved-otherwise': {
    kind: 'refused',
    message: '{service} was moved with {was}; mesh.yaml now wants {wanted}',
    fix: 'onehop rollback {service}, then onehop expose {service}',
  },
  'kubernetes-conflict': {
    kind: 'system',
    message: 'somebody else wrote at the same moment while {action}: {message}',
    fix: 'run the command again',
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
  'policy-unreadable': {
    kind: 'refused',
    message: 'line {line} of the policy: {message}',
    fix: 'mend that line of the policy file first; nothing was written',
  },
  'policy-without-rules': {
    kind: 'refused',
    message:
      'the policy has neither grants nor acls, which lets everything through: a first rule would shut off all else',
    fix: 'write down what shall hold, an array grants: empty for nothing, or with a rule from * to * for everything',
  },
  'policy-machine-unknown': {
    kind: 'refused',
    message:
      'services.{service}.allow names {machine}, which is no device of the tailnet and not in hosts of the policy',
    fix: 'correct the name in mesh.yaml: tailscale status',
  },
  'policy-host-differs': {
    kind: 'refused',
    message:
      'line {line} of the policy: hosts says that {machine} is {found}, but the tailnet says {expected}',
    fix: 'correct that host in the policy; a rule by its name would let another device in',
  },
  'policy-changed-by-others': {
    kind: 'refused',
    message: "line {line} of the policy has onehop's mark, but onehop did not write this: {found}",
    fix: 'look at that line: put back what was there, or delete the mark behind it and it is yours',
  },
  'policy-test-failed': {
    kind: 'refused',
    message: 'Tailscale does not take the policy ({message}): {data}',
    fix: 'look at the tests and rules it names; nothing was written',
  },
  'policy-stale': {
    kind: 'system',
    message: 'the policy was changed by somebody else at this very moment',
    fix: 'run the command again; nothing was written',
  },
  'policy-not-wide-open': {
    kind: 'refused',
    message: 'no rule of the policy lets everything reach everything: there is nothing to narrow',
    fix: 'nothing is to be done: allow already says who reaches a service',
  },
  'policy-narrowed-already': {
    kind: 'refused',
    message: 'the policy was narrowed already ({state}, to be confirmed until {until})',
    fix: 'onehop policy confirm keeps it; onehop policy widen takes it back, and then it can be narrowed anew',
  },
  'policy-not-narrowed': {
    kind: 'refused',
    message: 'onehop has not narrowed the policy, or has taken that back',
    fix: 'onehop policy narrow',
  },
  'policy-not-confirmed': {
    kind: 'refused',
    message: 'the narrowed policy was not confirmed until {until}: its old rules come back',
    fix: 'onehop policy narrow, and then, from where you work: onehop policy confirm',
  },
  'policy-still-narrow': {
    kind: 'refused',
    message:
      'the rules from * to * are not back: the rule that took their place bears no mark of onehop any more',
    fix: 'onehop policy widen --force writes them again',
  },
  'policy-managed-elsewhere': {
    kind: 'refused',
    message: 'the policy of this tailnet is managed outside (GitOps): {link}',
    fix: 'make the edit there: onehop policy preview --file FILE shows it',
  },
  'sockets-unreadable': {
    kind: 'refused',
    message: 'cannot see who is connected to the ports of this machine: {program}: {message}',
    fix: 'install {program} (macOS has lsof; on Linux, ss is in iproute2)',
  },
  'old-path-in-use': {
    kind: 'refused',
    message: 'the old path of {service} is in use: {users}',
    fix: 'point these at the device name; the time of quiet begins anew after the last use',
  },
  'old-path-not-yet-quiet': {
    kind: 'refused',
    message: 'the old path of {service} was seen unused for {held} s so far; {hold} s are asked ({gap})',
    fix: 'leave the worker running, then ask again',
  },
  'old-path-only-sampled': {
    kind: 'refused',
    message:
      'nobody was seen on the old path of {service} for {held} s, but that was looked at only every {every} s: Caddy does not count all its requests',
    fix: 'once onehop check says that Caddy runs its file: write "metrics" (a line of its own) into the global options of {file} and reload Caddy in the environment that its service has; where no Caddy route leads to it, or to one of its ports, nothing counts: onehop retire {service} --force',
  },
  'node-port-unlisted': {
    kind: 'refused',
    message:
      '{service} has node ports that mesh.yaml does not list, and retiring it takes them all away: {ports}; nobody has looked who uses them',
    fix: 'list each under services.{service}.ports and move it again (onehop rollback {service}, then onehop expose {service}); UDP cannot be listed: give it a Service of its own',
  },
  'nodeport-taken': {
    kind: 'refused',
    message: 'Service {object} cannot have its nodePort {nodePort} back: {holder} has it now',
    fix: 'give {holder} another nodePort, then: onehop rollback {service}',
  },
  'port-map-gone': {
    kind: 'refused',
    message:
      'Service {object} is a ClusterIP, and not by onehop: its port map does not answer ({message}), and without its device nothing would',
    fix: 'make it a NodePort with its former node ports again where its type is written, then: onehop rollback {service}; to take the device away all the same: onehop rollback {service} --force',
  },
  'service-type-kept': {
    kind: 'refused',
    message: 'Service {object} is of type {type}; onehop turns only a NodePort into a ClusterIP',
    fix: 'leave it, or set its type where it is written',
  },
  'caddy-route-remains': {
    kind: 'refused',
    message: '{file}:{line} site {site} still goes to {upstream}',
    fix: 'point that route at the device name and see that Caddy runs it so, then ask again (line 0: it is in an imported file, or only in what Caddy runs)',
  },
  'caddy-removal-refused': {
    kind: 'refused',
    message: '{file}:{line} the route of {site} cannot be taken out alone: {message}',
    fix: 'give the route lines of its own, or take it out by hand',
  },
  'caddy-removal-unexpected': {
    kind: 'refused',
    message: 'taking the route of {site} out of {file} would change more than that: {path} ({found})',
    fix: 'nothing was written; take it out by hand, and report the Caddyfile lines around that site',
  },
  'caddy-removal-leaks': {
    kind: 'refused',
    message: 'without its route, requests for {site} would be answered by another one: {found}',
    fix: 'nothing was written; write "respond 410" in place of the reverse_proxy, if that is what is wanted',
  },
  'caddy-removal-unhides': {
    kind: 'refused',
    message:
      'without its route, all that is left of site {site} comes from imported files, and Caddy no longer hides {file} from a file server there',
    fix: 'nothing was written; add "hide {file}" to that file_server and see that Caddy runs it so, then ask again',
  },
  'caddy-place-gone': {
    kind: 'refused',
    message: '{file} has no line "{marker}" any more: onehop does not know where the route of {site} belongs',
    fix: 'write that line where the route belongs, then: onehop rollback {service}',
  },
  'books-broken': {
    kind: 'refused',
    message: '{file}:{line} {message}',
    fix: 'mend the two marker lines by hand; onehop writes only between them',
  },
  'books-unreadable': {
    kind: 'refused',
    message: '{file} is not UTF-8: written back, it would not be the same',
    fix: 'save it as UTF-8, or name another file under books in mesh.yaml; the file was not touched',
  },
  'soak-slow': {
    kind: 'proof',
    message: '{service} was too slow by its {path}: {figures}',
    fix: 'find what is slow (relayed: open UDP 41641 between the machines), or allow more in soak.p99 of mesh.yaml; then: onehop expose {service}',
  },
  'vantage-silent': {
    kind: 'proof',
    message:
      'no evidence for {service} came from {vantage} within {seconds} s, though mesh.yaml asks for it (proveFrom)',
    fix: 'start it there: onehop probe --as {vantage} --engine URL; then: onehop expose {service}',
  },
  'vantage-failed': {
    kind: 'proof',
    message: '{vantage} cannot use {service} as mesh.yaml asks (proveFrom): {message}',
    fix: 'look from there: onehop probe --as {vantage} --once; is {vantage} in services.{service}.allow?',
  },
  'operator-not-ours': {
    kind: 'refused',
    message: 'the operator in namespace {namespace} was not installed by onehop, which does not remove it',
    fix: 'remove it the way it was installed: helm -n {namespace} list',
  },
  'operator-in-use': {
    kind: 'refused',
    message: 'the operator is still needed: {users}',
    fix: 'onehop rollback SERVICE for what onehop moved (onehop status), take the rest away by hand, then: onehop operator remove',
  },
  'operator-part-remains': {
    kind: 'proof',
    message: '{what} was told to go and is still there: {message}',
    fix: 'see to that, then: onehop operator remove',
  },
  'operator-client-shared': {
    kind: 'refused',
    message: 'onehop and the operator have one OAuth client between them ({file}): neither has least access',
    fix: 'make a client of its own for onehop (policy_file, devices:core:read, dns:read) and name its files in tailscale.credentials of mesh.yaml',
  },
  'operator-client-refused': {
    kind: 'refused',
    message: "Tailscale does not take the operator's OAuth client ({status}): {message}",
    fix: 'correct the two files of operator.credentials in mesh.yaml: {file}',
  },
  'operator-key-refused': {
    kind: 'refused',
    message: "the operator's OAuth client may not make a login key with {tag} ({status}): {message}",
    fix: 'give that client the scope auth_keys and exactly one tag, {tag}; the policy must have {tag} in tagOwners',
  },
  'operator-cannot-delete': {
    kind: 'refused',
    message: "the operator's OAuth client may not delete devices ({status}): {message}",
    fix: 'give that client the scope devices:core; without it no rollback could be finished',
  },
  'device-tag-differs': {
    kind: 'refused',
    message:
      'Service {object} is exposed already, and its device {device} has {found} instead of {tag}: the operator reads tags only when it makes a device',
    fix: 'kubectl -n {namespace} annotate service {name} tailscale.com/expose-; once the device is gone: onehop expose {service}',
  },
  'old-path-none': {
    kind: 'refused',
    message: '{service} has no old path (oldPath: none in mesh.yaml): there is nothing to retire',
    fix: 'to take its device name away: onehop unexpose {service}',
  },
  'old-path-kept': {
    kind: 'input',
    message: '{service} has an old path: taking its device name away also leads Caddy back to it',
    fix: 'if that is what you want: onehop rollback {service}',
  },
  'plan-unreadable': {
    kind: 'input',
    message: 'cannot read the plan {file}: {message}',
    fix: 'onehop plan --out {file}',
  },
  'plan-invalid': {
    kind: 'input',
    message: '{file} is no plan as onehop has written it: {message}',
    fix: 'onehop plan --out {file}',
  },
  'plan-newer': {
    kind: 'input',
    message: '{file} was written by a newer onehop (format {version})',
    fix: 'use that version of onehop, or: onehop plan --out {file}',
  },
  'plan-foreign': {
    kind: 'refused',
    message: '{file} is a plan for the {what} {expected}, and this one is {found}',
    fix: 'onehop plan --out {file}, with the mesh.yaml that you mean',
  },
  'plan-moved': {
    kind: 'refused',
    message: 'the world has moved since the plan was made: {moved}',
    fix: 'onehop plan --out FILE, read it, then onehop migrate --plan FILE',
  },
  'plan-unread': {
    kind: 'refused',
    message: 'this plan is incomplete: {parts} could not be read',
    fix: 'do what "Blocked" lists (with --json: result.problems), then run the command again',
  },
  'plan-unwritable': {
    kind: 'refused',
    message: 'cannot write the plan to {file}: {message}',
    fix: 'name a file in a folder that you may write to: onehop plan --out FILE',
  },
  'plan-blocked': {
    kind: 'refused',
    message: '{blocked} of {count} services cannot be moved as things are',
    fix: 'do what "Blocked" lists (with --json: the problems in result), then: onehop plan',
  },
  'drift-returns': {
    kind: 'refused',
    message:
      '{drift} was repaired {times} times within an hour and is there again: somebody or something puts it back',
    fix: 'find who does (its cause, in onehop drift); then: onehop drift --repair',
  },
  'drift-remains': {
    kind: 'proof',
    message: 'after the repair there still is: {drifts}',
    fix: 'onehop drift',
  },
  drifted: {
    kind: 'proof',
    message: '{drift}: {what}; it is rolled back and moved again to repair that',
    fix: 'onehop drift',
  },
  'webhook-refused': {
    kind: 'system',
    message: 'the webhook of {file} did not take the news of drift: {message}',
    fix: 'correct the URL in that file; what was not told is told again at the next look',
  },
  'helm-missing': {
    kind: 'refused',
    message: 'cannot run helm: {message}',
    fix: 'install Helm 3 or 4, and put it on PATH',
  },
  'check-failed': {
    kind: 'refused',
    message: '{count} checks failed: {ids}',
    fix: 'follow the fix beside each of them, then: onehop check',
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

/** An error of the table above, with its message and fix filled in. Its text survives JSON as `toJSON()`. */
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
    const { code, kind, message, fix } = this
    return { code, kind, message, fix, ...(isSilence(this) && { silent: true as const }) }
  }
}

/** An error as plain data: what steps return, the journal keeps and the CLI prints. */
export type Failure = {
  code: ErrorCode
  kind: ErrorKind
  message: string
  fix: string
  /** It has taken the whole deadline of a call: to ask again takes as long. */
  silent?: true
}

/** The error that a failure was, once it has come back as plain data. */
export function fromFailure(failure: Failure): OnehopError {
  return Object.assign(new OnehopError(failure.code), failure)
}

/** The one border at which anything thrown becomes a coded error. */
export function toOnehopError(thrown: unknown): OnehopError {
  if (thrown instanceof OnehopError) return thrown
  return new OnehopError(
    'internal',
    { message: thrown instanceof Error ? thrown.message : shown(thrown) },
    { cause: thrown },
  )
}

/** Anything thrown, in words: many network errors carry theirs only in `cause` or `errors`. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return messageOf(thrown.errors[0])
  if (!(thrown instanceof Error)) return shown(thrown)
  if (thrown.message === '' || thrown.message === 'fetch failed')
    return thrown.cause ? messageOf(thrown.cause) : thrown.name
  return thrown.message
}

/** A template with its `{names}` filled in; a name without a value stays. */
export function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (whole, key: string) =>
    key in details ? String(details[key]) : whole,
  )
}
