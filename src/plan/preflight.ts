import { type Failure, OnehopError } from '../errors.ts'
import { diffAdapted, findUpstreams } from './caddyfile.ts'
import type { ClusterService, Mesh } from './mesh.ts'
import { routesOf } from './paths.ts'
import type { Snapshot } from './snapshot.ts'

/** Why a service cannot be moved as the world is now; empty if it can. Pure: `plan` and `migrate` judge by the same words. */
export function preflightService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Failure[] {
  return [
    ...serviceProblems(service, snapshot),
    ...nameProblems(mesh, service, snapshot),
    ...routeProblems(mesh, service, snapshot),
  ]
}

/** What stands in the way of every service. */
export function preflightMesh(mesh: Mesh, snapshot: Snapshot): Failure[] {
  return [
    ...snapshot.failures,
    ...clusterProblems(snapshot),
    ...operatorProblems(mesh, snapshot),
    ...dnsProblems(snapshot),
    ...caddyProblems(mesh, snapshot),
  ]
}

/** What onehop has to do about the operator before anything can be exposed. */
export function operatorWork(mesh: Mesh, { cluster }: Snapshot): 'install' | 'upgrade' | 'complete' | 'none' {
  const operator = cluster?.operator
  if (!operator) return 'install'
  if (!operator.ours) return 'none'
  if (operator.version !== mesh.operator.version) return 'upgrade'
  return cluster?.namespaces[mesh.operator.namespace] === 'privileged' && cluster.proxyClassReady
    ? 'none'
    : 'complete'
}

const problem = (...args: ConstructorParameters<typeof OnehopError>): Failure =>
  new OnehopError(...args).toJSON()

function serviceProblems(service: ClusterService, { cluster, journal }: Snapshot): Failure[] {
  if (!cluster) return []
  const { name, object, namespace } = service
  const facts = cluster.services.find((each) => each.name === object && each.namespace === namespace)
  if (!facts) return [problem('service-missing', { object: service.service })]
  if (facts.clusterIP === 'None' || facts.clusterIP === '')
    return [problem('service-headless', { object: service.service })]
  const problems: Failure[] = []
  const entry = journal.find((each) => each.service === name)
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

/** The name must be free: whoever else holds it would keep it, and our device would silently be called name-1. */
function nameProblems(mesh: Mesh, service: ClusterService, { tailnet, cluster }: Snapshot): Failure[] {
  if (!tailnet) return []
  const problems: Failure[] = []
  const { hostname, tag } = service
  const ours = cluster?.proxies[service.service]?.deviceId
  const holder = tailnet.devices.find((each) => each.name.split('.')[0] === hostname && each.id !== ours)
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
  if (!tailnet.tagOwners[tag]?.includes(mesh.operator.tag))
    problems.push(problem('tag-not-owned', { owner: mesh.operator.tag, tag }))
  return problems
}

function routeProblems(mesh: Mesh, service: ClusterService, { caddy }: Snapshot): Failure[] {
  if (!caddy) return []
  return routesOf(mesh, service).flatMap(({ site, from, to }) => {
    const present = [from, to].some((upstream) => findUpstreams(caddy.text, { site, upstream }).length > 0)
    return present ? [] : [problem('caddy-route-not-found', { file: mesh.caddy.file, site, upstream: from })]
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
  const { cluster, tailnet } = snapshot
  const { namespace, hostname, tag } = mesh.operator
  if (!cluster || operatorWork(mesh, snapshot) !== 'none') return []
  const label = cluster.namespaces[namespace] ?? ''
  // Talos enforces `baseline` where there is no label: the StatefulSet then fails while the Service says ProxyReady.
  if (label !== 'privileged')
    return [problem('namespace-not-privileged', { namespace, label: label === '' ? 'label missing' : label })]
  const operator = cluster.operator
  if (!operator?.running)
    return [problem('operator-down', { namespace, message: operator?.message ?? 'missing' })]
  if (!tailnet) return []
  const own = tailnet.devices.filter((each) => each.tags.includes(tag) && each.hostname.startsWith(hostname))
  if (own.some((each) => each.online)) return []
  return [
    problem('operator-deaf', {
      namespace,
      message: own[0] ? `last seen ${own[0].lastSeen}` : `no device ${hostname} with ${tag}`,
    }),
  ]
}

/** A machine that does not take MagicDNS would fail every proof: better before the first change than after it. */
function dnsProblems({ tailnet }: Snapshot): Failure[] {
  if (!tailnet?.dns) return []
  const { name, expected, magicDns, system } = tailnet.dns
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
  return first ? [problem('caddy-file-not-running', { file: mesh.caddy.file, path: first.path })] : []
}
