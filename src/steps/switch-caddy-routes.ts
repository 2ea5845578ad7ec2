import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { type RouteEdit, routesOf } from '../plan/paths.ts'
import type { SwitchFlags } from '../systems/caddy.ts'
import type { Systems } from '../systems/systems.ts'
import type { SharedChange } from './change-wave.ts'

/** The upstreams of one service's routes, in one Caddyfile: tokens of the file, never the file. */
export type SwitchState = { file: string; routes: Array<{ site: string; upstream: string }> }

/** Moves Caddy's routes of services from the port map to the device name: one edit of the file, one reload. */
export const switchCaddyRoutes = {
  /** The routes as they are now. @throws OnehopError caddy-route-not-found, caddy-route-not-in-file, caddy-tokens-changed */
  async read({ caddy }: Systems, mesh: Mesh, service: ClusterService): Promise<SwitchState> {
    const routes = routesOf(mesh, service)
    const found = routes.length > 0 ? await caddy.readRoutes(routes) : []
    // As written (127.0.0.1 or localhost), so that the undo gives the very same bytes back; a scheme before it stays anyway.
    return {
      file: mesh.caddy.file,
      routes: found.map(({ site, upstream }) => ({ site, upstream: upstream.replace(/^\w+:\/\//, '') })),
    }
  },

  target(before: SwitchState, mesh: Mesh, service: ClusterService): SwitchState {
    return { ...before, routes: routesOf(mesh, service).map(({ site, to }) => ({ site, upstream: to })) }
  },

  /**
   * Compare-and-swap of several services' routes at once. An undo passes `expectRunning: false`: an edit that the user
   * has not reloaded yet must not stand in its way, and is neither loaded nor lost.
   *
   * @throws OnehopError caddy-*
   */
  async write({ caddy }: Systems, swaps: Swap[], options: SwitchFlags = {}): Promise<{ reloaded: boolean }> {
    const edits = swaps.flatMap(({ from, to }) => editsOf(from, to))
    return edits.length > 0 ? caddy.switchRoutes(edits, options) : { reloaded: false }
  },
}

/** The switch of a wave: one edit, one reload. */
export const switchChange: SharedChange<SwitchState> = {
  id: 'switch',
  async read({ mesh, systems }, service) {
    const before = await switchCaddyRoutes.read(systems, mesh, service)
    if (before.routes.length === 0) return undefined
    return { before, target: switchCaddyRoutes.target(before, mesh, service) }
  },
  write: (systems, pairs) =>
    switchCaddyRoutes.write(
      systems,
      pairs.map(({ before, target }) => ({ from: before, to: target })),
    ),
}

export type Swap = { from: SwitchState; to: SwitchState }

/** The routes whose upstreams differ, each from its upstream in `from` to that in `to`. */
export function editsOf(from: SwitchState, to: SwitchState): RouteEdit[] {
  return to.routes.flatMap(({ site, upstream }, index) => {
    const earlier = from.routes[index]?.upstream
    return earlier && earlier !== upstream ? [{ site, from: earlier, to: upstream }] : []
  })
}
