import type { Failure } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import { accessOfService, type ServiceAccess } from './access-of-service.ts'
import { certificatesPerWeek, certificatesSpent } from './certificates.ts'
import { exposedElsewhere, handOver } from './exposed-by-hand.ts'
import { type Harmless, harmlessOf } from './harmless.ts'
import { lookup } from './lookup.ts'
import { type ClusterService, type HostService, isClusterService, type Mesh, selectServices } from './mesh.ts'
import {
  deviceName,
  exposeAnnotations,
  hasOldPath,
  ingressName,
  ingressWish,
  pathsOf,
  routesOf,
  type ServicePath,
} from './paths.ts'
import { isThere } from './policy.ts'
import { entryText } from './policy-text.ts'
import { wideOpen } from './policy-wide-open.ts'
import {
  type Cluster,
  type OperatorWork,
  operatorWork,
  preflightMesh,
  preflightService,
} from './preflight.ts'
import { type Part, type Snapshot, unreadParts } from './snapshot.ts'
import { throughCaddy } from './through-caddy.ts'

/**
 * Compares what is wanted with what is there. Pure, so that `onehop plan` and a migration cannot disagree.
 * `names` narrows it to some services. Of a part that was not read no change is planned.
 *
 * @throws OnehopError service-unknown
 */
export function planMesh(mesh: Mesh, snapshot: Snapshot, names?: string[]): Plan {
  const wanted = selectServices(mesh, names)
  // As a migration does it: what is retired has no old path to move from. Asked for by name it is refused, with the reason.
  const isRetired = ({ name }: ClusterService) => !names && lookup(snapshot).entry(name)?.state === 'retired'
  const planned = wanted.map((service) => {
    const plan = planService(mesh, service, snapshot)
    return isRetired(service) ? { ...plan, unread: [], changes: [], problems: [] } : plan
  })
  const waves = wavesOf(wanted.filter((each) => !isRetired(each))).map((wave) =>
    wave.map((each) => each.name),
  )
  const services = withoutRepeats(planned, waves.flat())
  return {
    operator: planOperator(mesh, snapshot),
    waves,
    services,
    unread: unreadParts(snapshot),
    problems: preflightMesh(mesh, snapshot),
    kept: mesh.services.flatMap((each) =>
      isClusterService(each) ? [] : [{ name: each.name, why: keptReason(each, snapshot) }],
    ),
    notes: notesOf(mesh, snapshot, services),
    harmless: harmlessOf(wanted, snapshot),
  }
}

/**
 * Services side by side; each one with a certificate in a wave of its own, as the authority refuses many at once; the
 * engine's own last: while it moves, everything else already stands.
 */
export function wavesOf(services: ClusterService[]): ClusterService[][] {
  const isAlone = (each: ClusterService) => each.mode === 'https'
  const others = services.filter((each) => !each.engine && !isAlone(each))
  const waves = Array.from({ length: Math.ceil(others.length / waveSize) }, (_, index) =>
    others.slice(index * waveSize, (index + 1) * waveSize),
  )
  const alone = services.filter(isAlone).map((each) => [each])
  return [...waves, ...alone, services.filter((each) => each.engine)].filter((wave) => wave.length > 0)
}

/** More would come near the engine's limit of steps in one run. */
const waveSize = 20

export type Sign = '+' | '~' | '-'
type Change = { sign: Sign; what: string; undo: string }
/** `part` is the one that was read to find it. */
export type PlannedChange = Change & { part: Part }
export type PlannedService = {
  name: string
  /** The journal's; without an entry `planned`, or `unknown` where a part that the service needs was not read. */
  state: Entry['state'] | 'planned' | 'unknown'
  /** The parts that this service needs and that were not read: nothing is planned and nothing is blocked by them. */
  unread: Part[]
  changes: PlannedChange[]
  paths: ServicePath[]
  problems: Failure[]
  notes: string[]
}
export type Plan = {
  operator: { work: OperatorWork | 'unknown'; changes: PlannedChange[] }
  waves: string[][]
  services: PlannedService[]
  unread: Part[]
  problems: Failure[]
  kept: Array<{ name: string; why: string }>
  notes: string[]
  harmless: Harmless[]
}

/** A host alias that several services need is written into the policy once, with the first of them that moves. */
function withoutRepeats(services: PlannedService[], order: string[]): PlannedService[] {
  const firsts = new Map<string, string>()
  const byName = new Map(services.map((each) => [each.name, each]))
  for (const name of order)
    for (const { part, what } of byName.get(name)?.changes ?? [])
      if (part === 'policy' && !firsts.has(what)) firsts.set(what, name)
  return services.map(({ changes, ...rest }) => ({
    ...rest,
    changes: changes.filter(({ part, what }) => part !== 'policy' || firsts.get(what) === rest.name),
  }))
}

/** The one place in which changes are made: from the facts of a part. Of a part that was not read there are none. */
function changesFrom<Facts>(
  part: Part,
  facts: Facts | undefined,
  compare: (facts: Facts) => Change[],
): PlannedChange[] {
  return facts === undefined ? [] : compare(facts).map((change) => ({ part, ...change }))
}

function planService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): PlannedService {
  const known = lookup(snapshot)
  const { ingresses } = snapshot.cluster ?? {}
  const facts = known.service(service.service)
  const byHand = handOver(service, snapshot)
  const isHttps = service.mode === 'https'
  const changes = [
    ...changesFrom('policy', accessIfClear(mesh, service, snapshot), policyChanges),
    ...(isHttps
      ? changesFrom('cluster', facts && ingresses, () => ingressChanges(mesh, service, snapshot))
      : changesFrom('cluster', facts, (of) => annotationChanges(service, of, byHand.length > 0))),
    ...changesFrom('caddy', known.upstreams, (upstreams) => routeChanges(mesh, service, upstreams)),
  ]
  const unread = unreadParts(snapshot).filter((part) => needs(service).includes(part))
  const notes = [
    ...(facts?.helmRelease
      ? [
          `managed by the Helm release ${facts.helmRelease} (type written by ${facts.typeManager ?? 'an unknown field manager'}): retire leaves its type to Helm, and says which value to set`,
        ]
      : []),
    ...(hasOldPath(service)
      ? []
      : [`no old path: only its device name is proven; onehop unexpose ${service.name} removes that name`]),
    ...byHand,
    ...(snapshot.caddy ? throughCaddy(mesh, service, snapshot) : []),
    ...(isLivekit(service, facts?.helmRelease)
      ? [
          "LiveKit: only its signalling and the other TCP ports of its Service move; its media is UDP on the cluster node's own network, and stays as it is",
        ]
      : []),
    ...(isHttps ? httpsNotes(mesh, service, snapshot) : []),
  ]
  return {
    name: service.name,
    state: known.entry(service.name)?.state ?? (unread.length > 0 ? 'unknown' : 'planned'),
    unread,
    changes,
    paths: pathsOf(mesh, service),
    problems: preflightService(mesh, service, snapshot),
    notes,
  }
}

/** The parts that say what a move of this service changes, and whether it may begin. */
const needs = ({ routes }: ClusterService): Part[] => [
  'cluster',
  'tailnet',
  'policy',
  ...(Object.keys(routes).length > 0 ? (['caddy'] as const) : []),
]

function annotationChanges(
  service: ClusterService,
  { annotations }: ServiceFacts,
  isByHand: boolean,
): Change[] {
  return Object.entries(exposeAnnotations(service)).flatMap(([key, value]): Change[] => {
    const now = annotations[key]
    const what = `Service ${service.service}: ${key}: `
    if (!now)
      return [
        {
          sign: '+',
          what: `${what}${value}`,
          undo: `remove the annotation${isByHand ? '' : '; the operator then deletes the device'}`,
        },
      ]
    if (now.value === value) return []
    const undo = `set it to ${now.value} again, owned by ${now.manager}`
    return [{ sign: '~', what: `${what}${now.value} -> ${value}`, undo }]
  })
}

function routeChanges(
  mesh: Mesh,
  service: ClusterService,
  upstreams: NonNullable<ReturnType<typeof lookup>['upstreams']>,
): Change[] {
  return routesOf(mesh, service).flatMap(({ site, from, to }): Change[] => {
    const [found] = from === to ? [] : upstreams({ site, upstream: from })
    if (!found) return []
    const what = `${mesh.caddy.file}:${found.line} ${site}: ${from} -> ${to}`
    return [{ sign: '~', what, undo: `${to} -> ${from}, one reload` }]
  })
}

/** By what its Service or its release is called. */
const isLivekit = ({ object }: ClusterService, release = '') => /livekit/i.test(`${object} ${release}`)

function ingressChanges(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Change[] {
  const { namespace, object } = service
  const name = ingressName(service)
  if (lookup(snapshot).ingress(`${namespace}/${name}`)?.ours) return []
  const { port } = ingressWish(service)
  const what = `Ingress ${namespace}/${name}, class tailscale: https://${deviceName(mesh, service)} -> Service ${object}:${port}`
  return [{ sign: '+', what, undo: 'delete the Ingress; the operator then deletes the device' }]
}

/** What a certificate of its own means. */
function httpsNotes(mesh: Mesh, service: ClusterService, snapshot: Snapshot): string[] {
  const { times } = certificatesSpent(lookup(snapshot).entry(service.name))
  const url = `https://${deviceName(mesh, service)}`
  return [
    ...Object.keys(service.routes).map(
      (site) =>
        `${site} -> ${url}: clients take the new URL; the old one stays on the port map until it is retired`,
    ),
    `its certificate: the name ${deviceName(mesh, service)} appears in public logs; ${times} of the ${certificatesPerWeek} certificates of this week are used, and each new exposure uses one; the first request may take a minute`,
  ]
}

/** What the service needs of the policy; nothing where something of the policy is in its way, which preflight names. */
function accessIfClear(mesh: Mesh, service: ClusterService, snapshot: Snapshot): ServiceAccess {
  try {
    return accessOfService(mesh, service, snapshot)
  } catch {
    return undefined
  }
}

/** The entries that the policy does not have yet. */
const policyChanges = ({ policy, added }: NonNullable<ServiceAccess>): Change[] =>
  added
    .filter((piece) => !isThere(policy, piece))
    .map((piece) => ({
      sign: '+',
      what: `policy, ${piece.at.join('.')}: ${entryText(piece)}`,
      undo: 'remove this entry; every other byte of the policy stays',
    }))

function planOperator(mesh: Mesh, { cluster }: Snapshot): Plan['operator'] {
  if (!cluster) return { work: 'unknown', changes: [] }
  const work = operatorWork(mesh, cluster)
  return { work, changes: changesFrom('cluster', cluster, (facts) => operatorChanges(mesh, facts, work)) }
}

function operatorChanges(mesh: Mesh, cluster: Cluster, work: OperatorWork): Change[] {
  const { namespace, release, version, proxyClass } = mesh.operator
  const undo = 'onehop operator remove, once nothing is exposed'
  switch (work) {
    case 'none':
      return []
    case 'upgrade': {
      const pods = Object.keys(cluster.proxies).join(', ') || 'none'
      const was = cluster.operator?.version ?? 'unknown'
      return [
        {
          sign: '~',
          what: `operator ${was} -> ${version}; restarts the proxy pods of: ${pods}`,
          undo: `set operator.version back to ${was}`,
        },
      ]
    }
    case 'install':
    case 'complete':
      return [
        {
          sign: '+',
          what: `namespace ${namespace} with pod-security.kubernetes.io/enforce=privileged`,
          undo: cluster.namespaces[namespace] === undefined ? undo : 'none: the namespace was there before',
        },
        {
          sign: '+',
          what: `Secret ${namespace}/operator-oauth from the operator's credential files`,
          undo,
        },
        { sign: '+', what: `Helm release ${release} ${version}`, undo },
        {
          sign: '+',
          what: `ProxyClass ${proxyClass} (tolerates a control-plane taint, uses images that are already pulled)`,
          undo,
        },
      ]
    default:
      return work satisfies never
  }
}

/** Names its sites, so that the reader sees that they are known and stay. */
function keptReason({ name, host }: HostService, snapshot: Snapshot): string {
  const found = lookup(snapshot).upstreams?.({ upstream: host }) ?? []
  const sites = new Set(found.map(({ site }) => site))
  const routes =
    sites.size === 0 ? 'its Caddy route stays as it is' : `stays as it is: ${[...sites].join(', ')}`
  return `${name} is a process on this machine, not in the cluster: the operator cannot expose it; ${routes}`
}

/** What the operator's tag owns beyond what it has to; what it has to and does not is preflight's to say. */
export function tagsToSpare(mesh: Mesh, snapshot: Snapshot): string[] {
  const needed = new Set(mesh.services.filter(isClusterService).map((each) => each.tag))
  return [...(lookup(snapshot).tagOwners() ?? [])].flatMap(([tag, owners]) =>
    owners.includes(mesh.operator.tag) && tag !== mesh.operator.tag && !needed.has(tag) ? [tag] : [],
  )
}

function openRules(snapshot: Snapshot) {
  try {
    const policy = lookup(snapshot).policy()
    return policy ? wideOpen(policy) : []
  } catch {
    return []
  }
}

function notesOf(mesh: Mesh, snapshot: Snapshot, services: PlannedService[]): string[] {
  const notes =
    mesh.simulated === undefined ? [] : [`simulated world ${mesh.simulated}: nothing of this is real`]
  const layer3 = new Set(selectServices(mesh).flatMap((each) => (each.mode === 'layer3' ? [each.name] : [])))
  if (services.some((each) => each.changes.length > 0 && layer3.has(each.name)))
    notes.push(
      'device names have no TLS of their own (the operator forwards layer 3); WireGuard encrypts the way between tailnet machines',
    )
  if (services.some(({ changes }) => changes.some(({ part }) => part === 'caddy')))
    notes.push('Caddy reloads once per wave; each reload closes the WebSockets that go through it')
  for (const { line, rule } of openRules(snapshot))
    notes.push(
      `line ${line} of the policy lets everything reach everything, so that allow narrows nothing (onehop policy narrow): ${rule}`,
    )
  if (snapshot.cluster && snapshot.cluster.operator?.ours !== false)
    notes.push(
      `before its first change, migrate proves what the operator's OAuth client may do: it creates a login key with ${mesh.operator.tag} and deletes it at once, and asks to delete a device that does not exist`,
    )
  const elsewhere = exposedElsewhere(mesh, snapshot)
  if (elsewhere.length > 0)
    notes.push(
      `exposed, and not in mesh.yaml, so that onehop never touches them: ${elsewhere.map(({ object, manager }) => `${object} (${manager})`).join(', ')}; to hand one over, name it in services of mesh.yaml, then onehop expose`,
    )
  const more = tagsToSpare(mesh, snapshot)
  if (more.length > 0)
    notes.push(
      `the policy lets ${mesh.operator.tag} also use ${more.join(', ')}, which no service of mesh.yaml has: anyone with the operator's OAuth client can make devices with them`,
    )
  const engine = mesh.services.find((each) => isClusterService(each) && each.engine)
  if (engine)
    notes.push(
      `${engine.name} is the engine that runs the migration: it goes last; without --redis-uri it forgets its runs at a restart (onehop's journal does not)`,
    )
  return notes
}
