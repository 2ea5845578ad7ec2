import { OnehopError } from '../errors.ts'
import { adaptedDials, namelessFile, sameSite, sameUpstream, whereabouts } from '../plan/caddyfile.ts'
import { shown } from '../plan/json.ts'
import { judgeRemoval } from '../plan/judge-removal.ts'
import type { ClusterService, Mesh } from '../plan/mesh.ts'
import { routesOf } from '../plan/paths.ts'
import { findRoute, type RouteRemoval, removeRoute, restoreRoute } from '../plan/remove-route.ts'
import type { FileEdit } from '../systems/caddy.ts'
import type { Systems } from '../systems/systems.ts'

/** The routes of one service in one Caddyfile, with their bytes; `removed` says whether they are out of it. */
export type RemovalState = { file: string; removed: boolean; routes: RouteRemoval[] }

/** Takes a moved service's routes out of the Caddyfile: one edit, one reload. */
export const removeCaddyRoute = {
  /** The routes to the device name, as they stand there. @throws OnehopError caddy-route-not-found, caddy-route-not-in-file, caddy-removal-refused */
  async read({ caddy }: Systems, mesh: Mesh, service: ClusterService): Promise<RemovalState> {
    const { file } = mesh.caddy
    const wanted = routesOf(mesh, service)
    if (wanted.length === 0) return { file, removed: false, routes: [] }
    const { text } = await caddy.readFile()
    const adapted = await caddy.adaptFile()
    const routes = wanted.map(({ site, to }) => {
      try {
        return findRoute(text, {
          ...{ file, site, upstream: to, where: whereabouts(text, site) },
        })
      } catch (thrown) {
        const absent = thrown instanceof OnehopError && thrown.code === 'caddy-route-not-found'
        if (absent && adaptedDials(adapted, site).some((dial) => sameUpstream(dial, to)))
          throw new OnehopError('caddy-route-not-in-file', {
            ...{ file, site, upstream: to, where: whereabouts(text, site) },
          })
        throw thrown
      }
    })
    // Two addresses of one block are one route of the file.
    const once = routes.filter(
      ({ site, upstream }, index) =>
        !routes
          .slice(0, index)
          .some((other) => other.upstream === upstream && other.sites.some((each) => sameSite(each, site))),
    )
    return { file, removed: false, routes: once }
  },

  target(before: RemovalState): RemovalState {
    return { ...before, removed: true }
  },

  /**
   * Compare-and-swap of several services' routes at once: out of the file. `restoreCaddyRoutes` is the way back.
   *
   * @throws OnehopError changed-by-others, caddy-removal-unexpected, caddy-removal-leaks, caddy-removal-unhides,
   *   caddy-file-not-running, caddy-variables-unknown, caddy-edit-refused, caddy-did-not-take
   */
  async write({ caddy }: Systems, states: RemovalState[]): Promise<{ reloaded: boolean }> {
    const routes = states.flatMap((each) => each.routes)
    if (routes.length === 0) return { reloaded: false }
    const edit: FileEdit = (text) => ({
      text: routes.reduce(removeRoute, text),
      judge: (before, after) => refuse(routes, judgeRemoval(before, after, routes)),
    })
    return caddy.editFile([edit], { backs: [(text) => routes.reduce(restoreRoute, text)] })
  },
}

function refuse(routes: RouteRemoval[], wrong: ReturnType<typeof judgeRemoval>): void {
  const [first] = routes
  if (!wrong || !first) return
  const { file, site } = first
  const { path, before, after, leaks } = wrong
  if (leaks) throw new OnehopError('caddy-removal-leaks', { file, site: shown(before), found: shown(after) })
  if (/\/hide(\/\d+)?$/.test(path) && String(before).includes(namelessFile))
    throw new OnehopError('caddy-removal-unhides', { file, site })
  const found = `${JSON.stringify(before) ?? 'nothing'} -> ${JSON.stringify(after) ?? 'nothing'}`.slice(
    0,
    300,
  )
  throw new OnehopError('caddy-removal-unexpected', { file, site, path, found })
}
