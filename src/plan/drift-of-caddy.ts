import type { RemovalState } from '../steps/remove-caddy-route.ts'
import type { SwitchState } from '../steps/switch-caddy-routes.ts'
import { blockingRoutes } from './blocking-routes.ts'
import { caddyNotRunning } from './caddy-variables.ts'
import { diffAdapted, sameSite, sameUpstream } from './caddyfile.ts'
import type { DriftFacts, Finding, Standing } from './drift.ts'
import { lookup } from './lookup.ts'
import { isClusterService, type Mesh } from './mesh.ts'
import { deviceName } from './paths.ts'
import { isRemoved } from './remove-route.ts'
import type { Snapshot } from './snapshot.ts'
import { standingChange } from './states.ts'

/** What is not as it was left of Caddy: its file and what it runs, our routes in it, and ways to the engine that nobody named. */
export function caddyDrift({ mesh, snapshot }: DriftFacts, standing: Standing[]): Finding[] {
  const { caddy } = snapshot
  if (!caddy || standing.length === 0) return []
  const [difference] = diffAdapted(caddy.adapted, caddy.running)
  const { variables = [] } = caddy
  const failure = difference && caddyNotRunning({ ...mesh.caddy, path: difference.path, variables })
  const notRunning: Finding[] = failure
    ? [{ kind: 'caddy-not-running', subject: 'caddy', what: failure.message, cure: failure.fix }]
    : []
  return [
    ...notRunning,
    ...standing.flatMap((each) => [...switchedDrift(snapshot, each), ...removedDrift(snapshot, each)]),
    ...engineDrift(mesh, caddy),
  ]
}

function switchedDrift(snapshot: Snapshot, { service, entry }: Standing): Finding[] {
  const change = standingChange(entry, 'switch')
  if (!change || standingChange(entry, 'route')) return []
  const { file, routes } = change.target as SwitchState
  const before = change.before as SwitchState
  return routes.flatMap(({ site, upstream }, index): Finding[] => {
    const found = lookup(snapshot).upstreams?.({ site }) ?? []
    if (found.some((each) => sameUpstream(each.upstream, upstream))) return []
    const [first, another] = found
    const earlier = before.routes[index]?.upstream
    const isOld = first && earlier !== undefined && sameUpstream(first.upstream, earlier)
    return [
      {
        kind: 'route-elsewhere',
        subject: service.name,
        what: first
          ? `${file}:${first.line} ${site} goes to ${first.upstream}${isOld ? ', its old upstream' : ''}, it was ${upstream}`
          : `${file} has no route for ${site} any more`,
        // Several upstreams are somebody's own arrangement: replacing all of them would be more than our token.
        ...((!first || (another && !isOld)) && {
          mend: null,
          cure: `lead ${site} to ${upstream} again, or give it up: onehop rollback ${service.name} --force`,
        }),
      },
    ]
  })
}

function removedDrift(snapshot: Snapshot, { service, entry }: Standing): Finding[] {
  const change = standingChange(entry, 'route')
  if (!change) return []
  const switched = entry.changes.find((each) => each.id === 'switch')
  const ways = [switched?.before, switched?.target].flatMap(
    (each) => (each as SwitchState | undefined)?.routes ?? [],
  )
  const { file, routes } = change.before as RemovalState
  return routes.flatMap((route): Finding[] => {
    const back = lookup(snapshot)
      .upstreams?.({ site: route.site })
      .find(
        ({ upstream }) =>
          sameUpstream(upstream, route.upstream) ||
          ways.some((way) => sameSite(way.site, route.site) && sameUpstream(way.upstream, upstream)),
      )
    if (!back) return []
    return [
      {
        kind: 'route-back',
        subject: service.name,
        what: `${file}:${back.line} ${route.site} goes to ${back.upstream} again`,
        // Ours is still out of the file: this one is somebody's own.
        ...(isRemoved(snapshot.caddy?.text ?? '', route) && {
          mend: null,
          cure: 'take that route out, if it is not wanted',
        }),
      },
    ]
  })
}

/** The engine's API asks nobody who he is: whoever reaches it by such a route can start and cancel everything. */
function engineDrift(mesh: Mesh, { text, running }: NonNullable<Snapshot['caddy']>): Finding[] {
  const engine = mesh.services.filter(isClusterService).find((each) => each.engine)
  if (!engine) return []
  const named = Object.keys(engine.routes)
  const open = engine.ports
    .filter((each) => typeof (each.probe ?? engine.probe) === 'object')
    .flatMap(({ port, portMap }) => [
      ...blockingRoutes({ text, adapted: running, port: portMap, hosts: mesh.machine ? [mesh.machine] : [] }),
      ...blockingRoutes({ text, adapted: running, port, hosts: [deviceName(mesh, engine)] }),
    ])
    .filter(({ site, upstream }) => !upstream.includes('{') && !named.some((each) => sameSite(each, site)))
  return [...new Map(open.map((each) => [each.site, each])).values()].map(({ site, upstream, line }) => ({
    kind: 'engine-open' as const,
    subject: site,
    what: `${mesh.caddy.file}:${line} ${site} leads to the engine (${upstream}), whose API asks nobody who he is`,
    cure: `close it, or name it: routes of ${engine.name} in mesh.yaml, or "engine-open ${site}" in drift.known`,
  }))
}
