import type { Failure } from '../errors.ts'
import { accessOfService } from './access-of-service.ts'
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
import { wideOpen } from './policy-wide-open.ts'
import { operatorWork, preflightMesh, preflightService } from './preflight.ts'
import type { Snapshot } from './snapshot.ts'
import { throughCaddy } from './through-caddy.ts'

/**
 * Compares what is wanted with what is there. Pure, so that the tour, `onehop plan` and a migration cannot disagree.
 * `names` narrows it to some services.
 *
 * @throws OnehopError service-unknown
 */
export function planMesh(mesh: Mesh, snapshot: Snapshot, names?: string[]): Plan {
  const wanted = selectServices(mesh, names)
  // As a migration does it: what is retired has no old path to move from. Asked for by name it is refused, with the reason.
  const isRetired = ({ name }: ClusterService) => !names && lookup(snapshot).entry(name)?.state === 'retired'
  const services = wanted.map((service) => {
    const planned = planService(mesh, service, snapshot)
    return isRetired(service) ? { ...planned, changes: [], problems: [] } : planned
  })
  const operator = operatorWork(mesh, snapshot)
  const waves = wavesOf(wanted.filter((each) => !isRetired(each))).map((wave) =>
    wave.map((each) => each.name),
  )
  return {
    operator: { work: operator, changes: operatorChanges(mesh, snapshot) },
    waves,
    services,
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
export type PlannedChange = { sign: Sign; what: string; undo: string }
export type PlannedService = {
  name: string
  state: string
  changes: PlannedChange[]
  paths: ServicePath[]
  problems: Failure[]
  notes: string[]
}
export type Plan = {
  operator: { work: ReturnType<typeof operatorWork>; changes: PlannedChange[] }
  waves: string[][]
  services: PlannedService[]
  problems: Failure[]
  kept: Array<{ name: string; why: string }>
  notes: string[]
  harmless: Harmless[]
}

function planService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): PlannedService {
  const known = lookup(snapshot)
  const facts = known.service(service.service)
  const changes = policyChanges(mesh, service, snapshot)
  const byHand = handOver(service, snapshot)
  for (const [key, value] of Object.entries(service.mode === 'https' ? {} : exposeAnnotations(service))) {
    const now = facts?.annotations[key]
    if (now?.value === value) continue
    const undo = now
      ? `back to ${now.value} under ${now.manager}`
      : byHand.length > 0
        ? 'withdrawn'
        : 'withdrawn; the device goes with it'
    changes.push({
      sign: now ? '~' : '+',
      what: `Service ${service.service}: ${key}: ${now ? `${now.value} -> ` : ''}${value}`,
      undo,
    })
  }
  if (service.mode === 'https') changes.push(...ingressChanges(mesh, service, snapshot))
  for (const { site, from, to } of routesOf(mesh, service)) {
    if (from === to) continue
    const [found] = known.upstreams?.({ site, upstream: from }) ?? []
    if (found)
      changes.push({
        sign: '~',
        what: `${mesh.caddy.file}:${found.line} ${site}: ${from} -> ${to}`,
        undo: `${to} -> ${from}, one reload`,
      })
  }
  const notes = [
    ...(facts?.helmRelease
      ? [
          `managed by Helm release ${facts.helmRelease} (type written by ${facts.typeManager ?? 'an unknown field manager'}): retire leaves its type to Helm, and says which value to set`,
        ]
      : []),
    ...(hasOldPath(service)
      ? []
      : [`no old path: only its device name is proven; onehop unexpose ${service.name} takes it away again`]),
    ...byHand,
    ...throughCaddy(mesh, service, snapshot),
    ...(isLivekit(service, facts?.helmRelease)
      ? [
          'LiveKit: only its signalling moves, and what else of TCP its Service has; its media is UDP on the own network of the cluster node, and goes on there as before',
        ]
      : []),
    ...(service.mode === 'https' ? httpsNotes(mesh, service, snapshot) : []),
  ]
  return {
    name: service.name,
    state: known.entry(service.name)?.state ?? 'planned',
    changes,
    paths: pathsOf(mesh, service),
    problems: preflightService(mesh, service, snapshot),
    notes,
  }
}

/** By what its Service or its release is called. */
const isLivekit = ({ object }: ClusterService, release = '') => /livekit/i.test(`${object} ${release}`)

function ingressChanges(mesh: Mesh, service: ClusterService, snapshot: Snapshot): PlannedChange[] {
  const { namespace, object } = service
  const name = ingressName(service)
  if (lookup(snapshot).ingress(`${namespace}/${name}`)?.ours) return []
  const { port } = ingressWish(service)
  const what = `Ingress ${namespace}/${name}, class tailscale: https://${deviceName(mesh, service)} -> Service ${object}:${port}`
  return [{ sign: '+', what, undo: 'deleted; the device goes with it' }]
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
    `its certificate: the name ${deviceName(mesh, service)} goes to public logs; ${times} of ${certificatesPerWeek} a week asked for so far, and each new exposure asks for one; the first request may take a minute`,
  ]
}

/** Our entries that the policy does not have yet. What stands in their way is preflight's to say. */
function policyChanges(mesh: Mesh, service: ClusterService, snapshot: Snapshot): PlannedChange[] {
  try {
    const { policy, added = [] } = accessOfService(mesh, service, snapshot) ?? {}
    const missing = added.filter((piece) => policy && !isThere(policy, piece))
    return missing.map(({ at, key, value }) => ({
      sign: '+',
      what: `policy, ${at.join('.')}: ${key === undefined ? value : `${key}: ${value}`}`,
      undo: 'taken out of the policy; every other byte of it stays',
    }))
  } catch {
    return []
  }
}

function operatorChanges(mesh: Mesh, snapshot: Snapshot): PlannedChange[] {
  const { namespace, release, version, proxyClass } = mesh.operator
  const undo = 'onehop operator remove, once nothing is exposed any more'
  const work = operatorWork(mesh, snapshot)
  switch (work) {
    case 'none':
      return []
    case 'upgrade': {
      const pods = Object.keys(snapshot.cluster?.proxies ?? {}).join(', ') || 'none'
      const was = snapshot.cluster?.operator?.version
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
          undo: snapshot.cluster?.namespaces[namespace] === undefined ? undo : 'stays: it was there before',
        },
        {
          sign: '+',
          what: `Secret ${namespace}/operator-oauth from the operator's credential files`,
          undo,
        },
        { sign: '+', what: `Helm release ${release} ${version}`, undo },
        {
          sign: '+',
          what: `ProxyClass ${proxyClass} (tolerates a control-plane taint, does not pull images anew)`,
          undo,
        },
      ]
    default:
      return work satisfies never
  }
}

/** Its sites are named, so that whoever reads the plan sees that they are known and stay. */
function keptReason({ name, host }: HostService, snapshot: Snapshot): string {
  const found = lookup(snapshot).upstreams?.({ upstream: host }) ?? []
  const sites = new Set(found.map(({ site }) => site))
  const routes =
    sites.size === 0 ? 'its Caddy route stays as it is' : `stays as it is: ${[...sites].join(', ')}`
  return `${name} is a process on this machine, not in the cluster: the operator cannot expose it; ${routes}`
}

/** What the operator's tag owns beyond what it has to; what it has to and does not is preflight's to say. */
export function tagsToSpare(mesh: Mesh, { tailnet }: Snapshot): string[] {
  const needed = new Set(mesh.services.filter(isClusterService).map((each) => each.tag))
  return Object.entries(tailnet?.tagOwners ?? {}).flatMap(([tag, owners]) =>
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
  const notes: string[] = []
  const layer3 = new Set(selectServices(mesh).flatMap((each) => (each.mode === 'layer3' ? [each.name] : [])))
  if (services.some((each) => each.changes.length > 0 && layer3.has(each.name)))
    notes.push(
      'device names have no TLS of their own (the operator forwards layer 3); WireGuard encrypts the way between tailnet machines',
    )
  const routes = services
    .flatMap((each) => each.changes)
    .filter((each) => each.what.startsWith(mesh.caddy.file))
  if (routes.length > 0)
    notes.push('Caddy reloads once per wave; each reload closes the WebSockets that go through it')
  for (const { line, rule } of openRules(snapshot))
    notes.push(
      `line ${line} of the policy lets everything reach everything, so that allow narrows nothing (onehop policy narrow): ${rule}`,
    )
  if (snapshot.cluster && snapshot.cluster.operator?.ours !== false)
    notes.push(
      `before its first change, migrate proves what the operator's OAuth client may do: it makes a login key with ${mesh.operator.tag} that it deletes at once, and has a device deleted that does not exist`,
    )
  const elsewhere = exposedElsewhere(mesh, snapshot)
  if (elsewhere.length > 0)
    notes.push(
      `exposed, and not in mesh.yaml, so that onehop never touches them: ${elsewhere.map(({ object, manager }) => `${object} (${manager})`).join(', ')}; to hand one over, name it in services of mesh.yaml, then onehop expose`,
    )
  const more = tagsToSpare(mesh, snapshot)
  if (more.length > 0)
    notes.push(
      `the policy lets ${mesh.operator.tag} also use ${more.join(', ')}, which no service of mesh.yaml has: whoever has the operator's OAuth client can make devices with them`,
    )
  const engine = mesh.services.find((each) => isClusterService(each) && each.engine)
  if (engine)
    notes.push(
      `${engine.name} is the engine that runs the migration: it goes last; without --redis-uri it forgets its runs at a restart (onehop's journal does not)`,
    )
  const fallen = snapshot.failures.length
  if (fallen > 0)
    notes.push(`${fallen} system${fallen > 1 ? 's' : ''} could not be read: this plan is incomplete`)
  return notes
}
