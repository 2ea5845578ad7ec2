import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import { accessOfService } from './access-of-service.ts'
import { caddyNotRunning } from './caddy-variables.ts'
import { diffAdapted, hasVariable, variableAddressLine, whereabouts } from './caddyfile.ts'
import { certificatesPerWeek, certificatesSpent } from './certificates.ts'
import { lookup } from './lookup.ts'
import type { ClusterService, Mesh } from './mesh.ts'
import { exposeAnnotations, ingressName, ingressWish, proxyKey, routesOf } from './paths.ts'
import type { Snapshot } from './snapshot.ts'

/** Why a service cannot be moved as the world is now; empty if it can. Pure: `plan` and `migrate` judge by the same words. */
export function preflightService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Failure[] {
  return [
    ...serviceProblems(mesh, service, snapshot),
    ...nameProblems(service, snapshot),
    ...policyProblems(mesh, service, snapshot),
    ...routeProblems(mesh, service, snapshot),
    ...(service.mode === 'https' ? ingressProblems(service, snapshot) : []),
  ]
}

/** What blocks every service: first what could not be read. */
export function preflightMesh(mesh: Mesh, snapshot: Snapshot): Failure[] {
  return [
    ...snapshot.failures,
    ...clusterProblems(snapshot),
    ...operatorProblems(mesh, snapshot),
    ...dnsProblems(snapshot),
    ...caddyProblems(mesh, snapshot),
  ]
}

/** What onehop has to do about the operator before anything can be exposed: only a cluster that was read can tell. */
export function operatorWork(mesh: Mesh, cluster: Cluster): OperatorWork {
  const { operator } = cluster
  if (!operator) return 'install'
  if (!operator.ours) return 'none'
  if (operator.version !== mesh.operator.version) return 'upgrade'
  return cluster.namespaces[mesh.operator.namespace] === 'privileged' && cluster.proxyClassReady
    ? 'none'
    : 'complete'
}

export type OperatorWork = 'install' | 'upgrade' | 'complete' | 'none'
export type Cluster = NonNullable<Snapshot['cluster']>

const problem = (...args: ConstructorParameters<typeof OnehopError>): Failure =>
  new OnehopError(...args).toJSON()

function serviceProblems(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Failure[] {
  const { cluster } = snapshot
  if (!cluster) return []
  const { name, namespace } = service
  const facts = lookup(snapshot).service(service.service)
  if (!facts) return [problem('service-missing', { object: service.service })]
  if (facts.clusterIP === 'None' || facts.clusterIP === '')
    return [problem('service-headless', { object: service.service })]
  const problems: Failure[] = []
  const entry = lookup(snapshot).entry(name)
  if (entry && entry.state !== 'restored') {
    const recorded = entry.changes.find((each) => each.uid && !each.undone)?.uid
    if (recorded && recorded !== facts.uid)
      return [
        problem('service-recreated', {
          object: service.service,
          service: name,
          expected: recorded,
          found: facts.uid,
        }),
      ]
    if (entry.state === 'retired' || entry.state === 'retiring')
      return [problem('already-retired', { service: name, state: entry.state })]
    const otherwise = entry.state === 'moved' && movedOtherwise(mesh, service, entry)
    if (otherwise) return [problem('moved-otherwise', { service: name, ...otherwise })]
    if (entry.state === 'rolling-back' || entry.state === 'rollback-incomplete')
      problems.push(problem('rollback-pending', { service: name, state: entry.state }))
  }
  const ready = cluster.readyPorts[service.service] ?? []
  for (const { port } of service.ports) {
    const found = facts.ports.find((each) => each.port === port)
    if (!found)
      problems.push(
        problem('service-port-missing', {
          object: service.service,
          service: name,
          port,
          found: facts.ports.map((each) => each.port).join(', '),
        }),
      )
    else if (!ready.includes(found.name))
      problems.push(problem('endpoints-not-ready', { object: service.service, namespace, port }))
  }
  return problems
}

/** What a moved service was given, where mesh.yaml has another wish since: its record would lead to the wrong place. */
function movedOtherwise(mesh: Mesh, service: ClusterService, entry: Entry) {
  const targets = Object.fromEntries(
    entry.changes.flatMap(({ id, target, undone }) => (undone ? [] : [[id, target as Target]])),
  )
  const was = [
    ...exposedAs(targets.expose),
    ...(targets.switch?.routes ?? []).map(({ site, upstream }) => `${site} -> ${upstream}`),
  ].join(', ')
  const wanted = [
    ...(service.mode === 'https'
      ? Object.values(ingressWish(service))
      : Object.values(exposeAnnotations(service))),
    ...routesOf(mesh, service).map(({ site, to }) => `${site} -> ${to}`),
  ].join(', ')
  return targets.expose && was !== wanted ? { was, wanted } : undefined
}
/** The wish of an Ingress, or the annotations' values. */
const exposedAs = (target: Target | undefined) =>
  target?.ingress
    ? Object.values(target.ingress.wish)
    : Object.values(target?.annotations ?? {}).map((each) => each?.value ?? '')

type Target = {
  ingress?: { wish: Record<string, string | number> } | null
  annotations?: Record<string, { value: string } | null>
  routes?: Array<{ site: string; upstream: string }>
}

/**
 * The name must be free: another device that holds it would keep it, and ours would silently be called name-1. Which
 * device is ours only the cluster says: without it, a moved service would be told to delete its own.
 */
function nameProblems(service: ClusterService, snapshot: Snapshot): Failure[] {
  const { tailnet, cluster } = snapshot
  if (!tailnet || !cluster) return []
  const known = lookup(snapshot)
  const problems: Failure[] = []
  const { hostname, tag } = service
  const ours = cluster.proxies[proxyKey(service)]?.deviceId
  const holder = known.devicesNamed(hostname).find((each) => each.id !== ours)
  if (holder) {
    const { name: device, addresses, online, lastSeen } = holder
    problems.push(
      problem('name-taken', {
        hostname,
        device,
        address: addresses[0] ?? 'no address',
        seen: online ? 'now' : lastSeen,
      }),
    )
  }
  const device = ours === undefined ? undefined : known.device(ours)
  if (device && !device.tags.includes(tag))
    problems.push(
      problem('device-tag-differs', {
        object: service.service,
        device: device.name,
        found: device.tags.join(', ') || 'no tag',
        tag,
        namespace: service.namespace,
        name: service.object,
        service: service.name,
      }),
    )
  return problems
}

/** Who may reach it, and the tag's owner, are ours to write where mesh.yaml says so; else the owner must be there. */
function policyProblems(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Failure[] {
  const { tag, allow } = service
  const { tag: owner } = mesh.operator
  try {
    if (allow.length > 0) accessOfService(mesh, service, snapshot)
    else {
      const owners = lookup(snapshot).tagOwners()
      if (owners && !owners.get(tag)?.includes(owner)) return [problem('tag-not-owned', { owner, tag })]
    }
    return []
  } catch (thrown) {
    return [toOnehopError(thrown).toJSON()]
  }
}

/** An Ingress of somebody else under the name of ours, and the authority's limit. */
function ingressProblems(service: ClusterService, snapshot: Snapshot): Failure[] {
  const { namespace, name } = service
  const found = lookup(snapshot).ingress(`${namespace}/${ingressName(service)}`)
  const entry = lookup(snapshot).entry(name)
  const { times, until } = certificatesSpent(entry)
  // What is moved already has its certificate.
  const isSpent = entry?.state !== 'moved' && times >= certificatesPerWeek
  return [
    ...(found && !found.ours
      ? [problem('ingress-taken', { ingress: `${namespace}/${found.name}`, service: name })]
      : []),
    ...(isSpent
      ? [problem('certificates-spent', { service: name, times, limit: certificatesPerWeek, until })]
      : []),
  ]
}

function routeProblems(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Failure[] {
  const { upstreams } = lookup(snapshot)
  if (!upstreams) return []
  const { file } = mesh.caddy
  const text = snapshot.caddy?.text ?? ''
  return routesOf(mesh, service).flatMap(({ site, from, to }) => {
    const line = hasVariable(site) ? variableAddressLine(text, site) : undefined
    if (line !== undefined) return [problem('caddy-address-variable', { file, line, site })]
    const present = [from, to].some((upstream) => upstreams({ site, upstream }).length > 0)
    return present
      ? []
      : [
          problem('caddy-route-not-found', {
            file,
            site,
            upstream: from,
            where: whereabouts(text, site),
          }),
        ]
  })
}

/** Before anything else: in a cluster that is not the journal's, not even the operator may be installed. */
function clusterProblems({ cluster, journal }: Snapshot): Failure[] {
  const foreign = journal.find((each) => cluster && each.state !== 'restored' && each.cluster !== cluster.id)
  if (!cluster || !foreign) return []
  return [
    problem('cluster-changed', { service: foreign.service, expected: foreign.cluster, found: cluster.id }),
  ]
}

function operatorProblems(mesh: Mesh, snapshot: Snapshot): Failure[] {
  const { cluster } = snapshot
  const { namespace } = mesh.operator
  if (!cluster || operatorWork(mesh, cluster) !== 'none') return []
  const label = cluster.namespaces[namespace] ?? ''
  // Talos enforces `baseline` where there is no label: the StatefulSet then fails while the Service says ProxyReady.
  if (label !== 'privileged')
    return [problem('namespace-not-privileged', { namespace, label: label === '' ? 'label missing' : label })]
  const operator = cluster.operator
  if (!operator?.running)
    return [problem('operator-down', { namespace, message: operator?.message ?? 'missing' })]
  const message = operatorAbsence(mesh, snapshot)
  return message === undefined ? [] : [problem('operator-deaf', { namespace, message })]
}

/** Why the operator's device is not on the tailnet; nothing if it is, or if the tailnet could not be asked. */
export function operatorAbsence(mesh: Mesh, { tailnet }: Snapshot): string | undefined {
  const { hostname, tag } = mesh.operator
  const own = tailnet?.devices.filter((each) => each.tags.includes(tag) && each.hostname.startsWith(hostname))
  if (!own || own.some((each) => each.online)) return undefined
  return own[0] ? `last seen ${own[0].lastSeen}` : `no device ${hostname} with ${tag}`
}

/** A machine that does not take MagicDNS would fail every proof: better before the first change than after it. */
function dnsProblems({ tailscaled }: Snapshot): Failure[] {
  if (!tailscaled?.dns) return []
  const { name, expected, magicDns, system } = tailscaled.dns
  const answers = Object.entries({ MagicDNS: magicDns, 'the system resolver': system })
  const wrong = answers.find(
    ([, found]) => typeof found === 'string' || !found.some((each) => expected.includes(each)),
  )
  if (!wrong) return []
  const [resolver, found] = wrong
  return [
    problem('dns-not-accepted', {
      resolver,
      name,
      found: typeof found === 'string' ? found : found.join(' '),
    }),
  ]
}

function caddyProblems(mesh: Mesh, { caddy }: Snapshot): Failure[] {
  const [first] = caddy ? diffAdapted(caddy.adapted, caddy.running) : []
  if (!first) return []
  const variables = caddy?.variables ?? []
  return [caddyNotRunning({ ...mesh.caddy, path: first.path, variables }).toJSON()]
}
