/**
 * Every kind of drift, in one table; `docs/drift.md` is rendered from it, and a test keeps both equal.
 *
 * part      what it is judged by: while that cannot be read, nothing of this kind is said to be gone
 * mend      what a repair does: `again` writes that change of the journal once more, `anew` rolls the service back and
 *           moves it again, `operator` and `secret` apply the operator's parts, `books` writes our block; null: not ours to mend
 * covers    kinds of the same service that only follow from this one, and are not told beside it
 */
export const driftKinds = {
  'service-gone': {
    severity: 'critical',
    part: 'cluster',
    mend: null,
    means: 'the Service of a moved service is not there, or another one has its name',
    covers: ['no-endpoints', 'device-silent', 'device-deleted', 'device-offline', 'proxy-missing'],
  },
  'annotation-gone': {
    severity: 'critical',
    part: 'cluster',
    mend: 'again:expose',
    means:
      'an annotation (or the Ingress) that exposes a moved service is gone: the operator takes its device away',
    covers: ['proxy-missing', 'device-silent', 'device-deleted', 'device-offline', 'name-elsewhere'],
  },
  'hostname-changed': {
    severity: 'critical',
    part: 'cluster',
    mend: 'again:expose',
    means: 'the hostname annotation has another value: the device is about to change its name',
    covers: ['device-renamed', 'device-silent', 'name-elsewhere'],
  },
  'tag-edited': {
    severity: 'warning',
    part: 'cluster',
    mend: 'again:expose',
    means:
      'the tags annotation has another value, which does nothing: the operator reads tags only when it makes a device',
    covers: [],
  },
  'type-back': {
    severity: 'warning',
    part: 'cluster',
    mend: 'again:type',
    means: 'a retired Service is a NodePort again, or of another type',
    covers: [],
  },
  'nodeport-gone': {
    severity: 'warning',
    part: 'cluster',
    mend: null,
    means: 'a moved Service, not retired, is no NodePort any more: its old path is gone',
    covers: ['nodeport-changed'],
  },
  'nodeport-changed': {
    severity: 'warning',
    part: 'cluster',
    mend: null,
    means: 'a node port has another number than when the service was moved: its port map leads nowhere',
    covers: [],
  },
  'ports-changed': {
    severity: 'warning',
    part: 'cluster',
    mend: null,
    means: 'the Service has not the ports that it was moved with',
    covers: ['device-silent'],
  },
  'no-endpoints': {
    severity: 'critical',
    part: 'cluster',
    mend: null,
    means: 'no pod is ready behind a moved service',
    covers: ['device-silent'],
  },
  'device-renamed': {
    severity: 'critical',
    part: 'tailnet',
    mend: 'anew',
    means: 'the device has another name than the asked one: a suffix, because the name was taken, or by hand',
    covers: ['device-silent', 'name-elsewhere'],
  },
  'device-offline': {
    severity: 'critical',
    part: 'tailnet',
    mend: null,
    means: 'the device is not connected',
    covers: ['device-silent'],
  },
  'device-deleted': {
    severity: 'critical',
    part: 'tailnet',
    mend: 'anew',
    means: 'the device was deleted from the tailnet: its proxy pod cannot log in again by itself',
    covers: ['device-silent', 'name-elsewhere', 'login-key-spent', 'proxy-stuck'],
  },
  'login-key-spent': {
    severity: 'critical',
    part: 'cluster',
    mend: 'anew',
    means: 'the proxy asks for a new login key, which nobody gives it: it can never log in again',
    covers: ['proxy-stuck', 'device-silent', 'device-offline', 'name-elsewhere'],
  },
  'proxy-missing': {
    severity: 'critical',
    part: 'cluster',
    mend: null,
    means: 'the operator has made no proxy for an exposed Service',
    covers: ['device-silent', 'device-deleted', 'name-elsewhere'],
  },
  'proxy-stuck': {
    severity: 'critical',
    part: 'cluster',
    mend: 'anew',
    means: 'the proxy pod does not start; its StatefulSet never replaces it by itself',
    covers: ['device-silent', 'device-offline', 'name-elsewhere'],
  },
  'proxyclass-unready': {
    severity: 'warning',
    part: 'cluster',
    mend: 'operator',
    means: 'the ProxyClass of onehop is gone or not Ready: the next proxy is not made',
    covers: [],
  },
  'operator-gone': {
    severity: 'critical',
    part: 'cluster',
    mend: 'operator',
    means: 'services are moved, and there is no operator',
    covers: ['operator-deaf', 'proxyclass-unready', 'secret-changed'],
  },
  'operator-down': {
    severity: 'critical',
    part: 'cluster',
    mend: null,
    means: 'the operator does not run: proxies stay as they are, and nothing can be undone',
    covers: ['operator-deaf'],
  },
  'operator-version': {
    severity: 'warning',
    part: 'cluster',
    mend: 'operator',
    means: 'the operator has another version than mesh.yaml pins',
    covers: [],
  },
  'operator-deaf': {
    severity: 'critical',
    part: 'tailnet',
    mend: null,
    means: 'the operator runs, but is not on the tailnet: it hears of nothing',
    covers: [],
  },
  'namespace-label-gone': {
    severity: 'critical',
    part: 'cluster',
    mend: 'operator',
    means: "the operator's namespace does not admit privileged pods: the next restart of a proxy is refused",
    covers: [],
  },
  'secret-changed': {
    severity: 'critical',
    part: 'secret',
    mend: 'secret',
    means:
      "the operator's OAuth Secret is gone, or is not what the credential files say: it fails at its next restart",
    covers: [],
  },
  'grant-gone': {
    severity: 'critical',
    part: 'policy',
    mend: 'again:allow',
    means:
      'the policy has lost a rule, a tag owner or a host of a moved service: who is allowed may not reach it',
    // Whom the policy does not let through does not even get the name.
    covers: ['policy-test-gone', 'device-silent', 'name-elsewhere'],
  },
  'grant-widened': {
    severity: 'critical',
    part: 'policy',
    mend: 'again:allow',
    means: 'the policy lets somebody reach a moved service whom mesh.yaml does not name',
    covers: ['policy-test-gone'],
  },
  'rule-for-all': {
    severity: 'critical',
    part: 'policy',
    mend: null,
    means:
      'the policy has a rule from * to * which was not there at the move: no other rule narrows anything',
    covers: ['grant-widened'],
  },
  'policy-test-gone': {
    severity: 'warning',
    part: 'policy',
    mend: 'again:allow',
    means: 'the policy has lost a test of a moved service',
    covers: [],
  },
  'caddy-not-running': {
    severity: 'warning',
    part: 'caddy',
    mend: null,
    means: 'Caddy does not run what the Caddyfile says',
    covers: [],
  },
  'route-elsewhere': {
    severity: 'critical',
    part: 'caddy',
    mend: 'again:switch',
    means: 'a route of a moved service leads to another upstream than its device name',
    covers: [],
  },
  'route-back': {
    severity: 'warning',
    part: 'caddy',
    mend: 'again:route',
    means: 'a route that was retired stands in the Caddyfile again',
    covers: [],
  },
  'fell-back': {
    severity: 'warning',
    part: 'journal',
    mend: null,
    means: 'the device name fell silent, and Caddy was led back to the port map',
    covers: ['route-elsewhere'],
  },
  'device-silent': {
    severity: 'critical',
    part: 'paths',
    mend: null,
    means: 'a port of the device name does not answer',
    covers: [],
  },
  'name-elsewhere': {
    severity: 'critical',
    part: 'paths',
    mend: null,
    means: 'MagicDNS gives another address for the name than its device has',
    covers: ['device-silent'],
  },
  'engine-open': {
    severity: 'critical',
    part: 'caddy',
    mend: null,
    means: 'a Caddy route that mesh.yaml does not name leads to the engine, whose API asks nobody who he is',
    covers: [],
  },
  'books-edited': {
    severity: 'info',
    part: 'books',
    mend: 'books',
    means: 'the block of onehop in the books is not what it wrote',
    covers: [],
  },
  'exposed-elsewhere': {
    severity: 'info',
    part: 'cluster',
    mend: null,
    means: 'a Service is exposed that mesh.yaml does not name; it is never touched',
    covers: [],
  },
} as const satisfies Record<string, DriftEntry>

type DriftEntry = {
  severity: Severity
  part: DriftPart
  mend: Mend | null
  means: string
  covers: readonly string[]
}

export type DriftKind = keyof typeof driftKinds
export type Severity = 'info' | 'warning' | 'critical'
export type DriftPart = 'cluster' | 'secret' | 'tailnet' | 'policy' | 'caddy' | 'paths' | 'books' | 'journal'
export type Mend =
  | `again:${'expose' | 'switch' | 'allow' | 'type' | 'route'}`
  | 'anew'
  | 'operator'
  | 'secret'
  | 'books'

/** The kinds' names, in the table's order. */
export const driftKindNames = Object.keys(driftKinds) as [DriftKind, ...DriftKind[]]

/** One difference between what was left and what is there. `subject` is a service, or what else it is about. */
export type Drift = {
  kind: DriftKind
  subject: string
  severity: Severity
  /** What was found, with the value, and what was expected. */
  what: string
  /** Who or when, where that can be known. */
  cause?: string
  /** What the repair would do; absent where there is none, and `cure` is what a person can do. */
  repair?: string
  mend?: Mend
  cure: string
}

/** By which a drift is told apart from others, in mesh.yaml's `known` too. */
export const driftId = ({ kind, subject }: Pick<Drift, 'kind' | 'subject'>) => `${kind} ${subject}`

/** Whether a word names a kind of drift, or a kind and its subject. */
export const isDriftName = (name: string) =>
  driftKindNames.some((kind) => name === kind || name.startsWith(`${kind} `))

/** Whether such words name this drift. */
export const isNamed = (drift: Drift, names: string[]) =>
  names.includes(drift.kind) || names.includes(driftId(drift))
