import type { Failure } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import {
  type Drift,
  type DriftKind,
  type DriftPart,
  driftId,
  driftKinds,
  isNamed,
  type Mend,
} from './drift-kinds.ts'
import { booksDrift } from './drift-of-books.ts'
import { caddyDrift } from './drift-of-caddy.ts'
import { operatorDrift } from './drift-of-operator.ts'
import { policyDrift } from './drift-of-policy.ts'
import { serviceDrift } from './drift-of-service.ts'
import { exposedElsewhere } from './exposed-by-hand.ts'
import { type ClusterService, isClusterService, type Mesh } from './mesh.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * What is not as it was left, of everything that is moved or retired. Pure. What only follows from another drift of the
 * same service is not told beside it; what mesh.yaml calls known is folded away.
 *
 * `unread` names the parts that could not be looked at, `unseen` the services: of those nothing is known, neither that
 * something is wrong nor that it is right again.
 */
export function findDrift(facts: DriftFacts): DriftFound {
  const { mesh, snapshot } = facts
  const standing = standingOf(mesh, snapshot.journal)
  const findings = [
    ...standing.flatMap((each) => serviceDrift(facts, each)),
    ...operatorDrift(facts, standing),
    ...policyDrift(facts, standing),
    ...caddyDrift(facts, standing),
    ...booksDrift(facts),
    ...exposedElsewhere(mesh, snapshot).map(
      ({ object, manager }): Finding => ({
        kind: 'exposed-elsewhere',
        subject: object,
        what: `Service ${object} is exposed, and mesh.yaml does not name it`,
        cause: `field manager ${manager}`,
        cure: 'to hand it over, name it in services of mesh.yaml, then onehop expose',
      }),
    ),
  ]
  const covered = new Set(
    findings.flatMap(({ kind, subject }) => driftKinds[kind].covers.map((each) => `${each} ${subject}`)),
  )
  const told = joined(findings.filter((each) => !covered.has(driftId(each)))).map(toDrift)
  const isKnown = (each: Drift) => isNamed(each, mesh.drift.known)
  return {
    drifts: told.filter((each) => !isKnown(each)),
    known: told.filter(isKnown),
    unread: unreadParts(facts),
    unseen: [...unseenServices(facts, standing), ...unseenPaths(facts)],
    failures: snapshot.failures,
    checked: standing.length,
  }
}

/** All that drift is judged by. What could not be read is absent. */
export type DriftFacts = {
  mesh: Mesh
  snapshot: Snapshot
  /** Of each moved service: the ports that did not answer, and what MagicDNS says of its name. */
  paths: Record<string, PathFacts>
  /** The user's own list of services, where mesh.yaml names one. */
  books?: string | undefined
  /** The operator's Secret beside the credential files; `other` where onehop did not install the operator. */
  secret?: 'same' | 'changed' | 'gone' | 'other' | undefined
}
export type PathFacts = {
  silent: Array<{ name: string; port: number; message: string }>
  /** The addresses of the name; an error's text where MagicDNS did not answer. */
  magicDns: string[] | string
}
export type DriftFound = {
  drifts: Drift[]
  known: Drift[]
  unread: DriftPart[]
  unseen: Unseen[]
  failures: Failure[]
  /** How many services are moved or retired. */
  checked: number
}

/** A service that was not looked at, or that part of it, and why. */
export type Unseen = { subject: string; part?: DriftPart; why: string }

/** What a judge found; the table says the rest, unless `mend` says that this one cannot be mended. */
export type Finding = {
  kind: DriftKind
  subject: string
  what: string
  cause?: string | undefined
  cure?: string | undefined
  mend?: Mend | null | undefined
}
/** A service that is moved or retired, with its journal entry. */
export type Standing = { service: ClusterService; entry: Entry }

/** The services that are moved or retired: what drift is about. */
export function standingOf(mesh: Mesh, journal: Entry[]): Standing[] {
  const entries = new Map(journal.map((each) => [each.service, each]))
  return mesh.services.filter(isClusterService).flatMap((service) => {
    const entry = entries.get(service.name)
    return entry && (entry.state === 'moved' || entry.state === 'retired') ? [{ service, entry }] : []
  })
}

/** One for each id: two routes of a service that lead elsewhere are told, and repaired, together. */
function joined(findings: Finding[]): Finding[] {
  const byId = new Map<string, Finding>()
  for (const each of findings) {
    const before = byId.get(driftId(each))
    byId.set(driftId(each), before ? join(before, each) : each)
  }
  return [...byId.values()]
}

/** What cannot be mended of the one is not mended of the other either: a repair writes both. */
const join = (one: Finding, other: Finding): Finding => ({
  ...one,
  what: `${one.what}; ${other.what}`,
  mend: one.mend === null || other.mend === null ? null : one.mend,
  cause: one.cause ?? other.cause,
  cure: [...new Set([one.cure, other.cure])].filter((each) => each !== undefined).join('; ') || undefined,
})

function toDrift({ kind, subject, what, cause, cure, mend: own }: Finding): Drift {
  const { severity, mend: usual, means } = driftKinds[kind]
  const mend = own === undefined ? usual : own
  return {
    kind,
    subject,
    severity,
    what,
    ...(cause !== undefined && { cause }),
    ...(mend !== null && { mend, repair: repairOf(mend, subject) }),
    cure: cure ?? (mend === null ? means : `onehop drift --repair ${kind}`),
  }
}

function repairOf(mend: Mend, subject: string): string {
  switch (mend) {
    case 'again:expose':
      return `write the annotations of ${subject} again`
    case 'again:switch':
      return `lead Caddy's routes of ${subject} to its device name again, one reload`
    case 'again:allow':
      return `write onehop's entries for ${subject} into the policy again`
    case 'again:type':
      return `make ${subject} a ClusterIP again`
    case 'again:route':
      return `take the route of ${subject} out of the Caddyfile again, one reload`
    case 'anew':
      return `roll ${subject} back to its old path, then move it again`
    case 'operator':
      return 'apply the parts of the operator again, as onehop operator install does'
    case 'secret':
      return "write the operator's Secret from the credential files again"
    case 'books':
      return 'write the block anew; every other byte stays'
    default:
      return mend satisfies never
  }
}

function unreadParts({ mesh, snapshot, books, secret }: DriftFacts): DriftPart[] {
  const { cluster, tailnet, policy, caddy } = snapshot
  return [
    ...(cluster ? [] : ['cluster' as const]),
    ...(cluster && secret !== undefined ? [] : ['secret' as const]),
    // Which device is whose is what the cluster says.
    ...(cluster && tailnet ? [] : ['tailnet' as const]),
    ...(policy === undefined ? ['policy' as const] : []),
    ...(caddy ? [] : ['caddy' as const]),
    // Which address the name should have is what the cluster says.
    ...(cluster ? [] : ['paths' as const]),
    ...(mesh.books !== undefined && books === undefined ? ['books' as const] : []),
  ]
}

/** Those on their way, and those that mesh.yaml does not name any more: of what is restored there is nothing to see. */
function unseenServices({ snapshot }: DriftFacts, standing: Standing[]): Unseen[] {
  const seen = new Set(standing.map(({ service }) => service.name))
  return snapshot.journal
    .filter(({ service, state }) => state !== 'restored' && !seen.has(service))
    .map(({ service, state }) => ({
      subject: service,
      why: state === 'moved' || state === 'retired' ? 'mesh.yaml does not name it' : `it is ${state}`,
    }))
}

const unseenPaths = ({ paths }: DriftFacts): Unseen[] =>
  Object.entries(paths).flatMap(([subject, { magicDns }]) =>
    typeof magicDns === 'string'
      ? [{ subject, part: 'paths' as const, why: `MagicDNS does not answer for its name: ${magicDns}` }]
      : [],
  )
