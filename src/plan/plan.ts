import type { Failure } from '../errors.ts'
import { findUpstreams } from './caddyfile.ts'
import { type ClusterService, isClusterService, type Mesh, selectServices } from './mesh.ts'
import { pathsOf, routesOf, type ServicePath } from './paths.ts'
import { operatorWork, preflightMesh, preflightService } from './preflight.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * Compares what is wanted with what is there. Pure, so that the tour, `onehop plan` and a migration cannot disagree.
 * `names` narrows it to some services.
 *
 * @throws OnehopError service-unknown
 */
export function planMesh(mesh: Mesh, snapshot: Snapshot, names?: string[]): Plan {
  const services = selectServices(mesh, names).map((service) => planService(mesh, service, snapshot))
  const operator = operatorWork(mesh, snapshot)
  const waves = wavesOf(selectServices(mesh, names)).map((wave) => wave.map((each) => each.name))
  return {
    operator: { work: operator, changes: operatorChanges(mesh, snapshot) },
    waves,
    services,
    problems: preflightMesh(mesh, snapshot),
    kept: mesh.services
      .filter((each) => !isClusterService(each))
      .map((each) => ({ name: each.name, why: keptReason(each) })),
    notes: notesOf(mesh, snapshot, services),
  }
}

/** Services side by side, the engine's own last: while it moves, everything else already stands. */
export function wavesOf(services: ClusterService[]): ClusterService[][] {
  const waves = [services.filter((each) => !each.engine), services.filter((each) => each.engine)]
  return waves.filter((wave) => wave.length > 0)
}

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
}

/** The annotations that expose a service; each service has its own tag from the first day, since the operator reads tags only once. */
export const exposeAnnotations = (service: ClusterService): Record<string, string> => ({
  'tailscale.com/expose': 'true',
  'tailscale.com/hostname': service.hostname,
  'tailscale.com/tags': service.tag,
})

function planService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): PlannedService {
  const facts = snapshot.cluster?.services.find(
    (each) => `${each.namespace}/${each.name}` === service.service,
  )
  const changes: PlannedChange[] = []
  for (const [key, value] of Object.entries(exposeAnnotations(service))) {
    const now = facts?.annotations[key]
    if (now?.value === value) continue
    const undo = now ? `back to ${now.value} under ${now.manager}` : 'withdrawn; the device goes with it'
    changes.push({
      sign: now ? '~' : '+',
      what: `Service ${service.service}: ${key}: ${now ? `${now.value} -> ` : ''}${value}`,
      undo,
    })
  }
  for (const { site, from, to } of routesOf(mesh, service)) {
    const [found] = snapshot.caddy ? findUpstreams(snapshot.caddy.text, { site, upstream: from }) : []
    if (found)
      changes.push({
        sign: '~',
        what: `${mesh.caddy.file}:${found.line} ${site}: ${from} -> ${to}`,
        undo: `${to} -> ${from}, one reload`,
      })
  }
  const notes = facts?.helmRelease
    ? [`owned by Helm release ${facts.helmRelease}: a later helm upgrade may take our annotations away`]
    : []
  return {
    name: service.name,
    state: snapshot.journal.find((each) => each.service === service.name)?.state ?? 'planned',
    changes,
    paths: pathsOf(mesh, service),
    problems: preflightService(mesh, service, snapshot),
    notes,
  }
}

function operatorChanges(mesh: Mesh, snapshot: Snapshot): PlannedChange[] {
  const { namespace, release, version, proxyClass } = mesh.operator
  const undo = `helm -n ${namespace} uninstall ${release}, once no Service is exposed`
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
          undo: `kubectl delete namespace ${namespace}`,
        },
        {
          sign: '+',
          what: `Secret ${namespace}/operator-oauth from the operator's credential files`,
          undo: 'goes with the namespace',
        },
        { sign: '+', what: `Helm release ${release} ${version}`, undo },
        {
          sign: '+',
          what: `ProxyClass ${proxyClass} (tolerates a control-plane taint, does not pull images anew)`,
          undo: `kubectl delete proxyclass ${proxyClass}`,
        },
      ]
    default:
      return work satisfies never
  }
}

const keptReason = (service: { name: string }) =>
  `${service.name} is a process on this machine, not in the cluster: the operator cannot expose it; its Caddy route stays as it is`

function notesOf(mesh: Mesh, snapshot: Snapshot, services: PlannedService[]): string[] {
  const notes: string[] = []
  if (services.some((each) => each.changes.length > 0))
    notes.push(
      'device names have no TLS of their own (the operator forwards layer 3); WireGuard encrypts the way between tailnet machines',
    )
  const routes = services
    .flatMap((each) => each.changes)
    .filter((each) => each.what.startsWith(mesh.caddy.file))
  if (routes.length > 0)
    notes.push('Caddy reloads once per wave; each reload closes the WebSockets that go through it')
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
