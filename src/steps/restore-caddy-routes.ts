import { OnehopError } from '../errors.ts'
import { adaptedDials, findUpstreams, replaceUpstreams, sameSite, sameUpstream } from '../plan/caddyfile.ts'
import { isBackAt, type RouteRemoval, removeRoute, restoreRoute } from '../plan/remove-route.ts'
import type { FileEdit } from '../systems/caddy.ts'
import type { Systems } from '../systems/systems.ts'
import type { RemovalState } from './remove-caddy-route.ts'
import { editsOf, type Swap, switchCaddyRoutes } from './switch-caddy-routes.ts'

/** What is to be taken back in a Caddyfile: routes that a retirement took out, and upstreams that a move has switched. */
export type CaddyUndo = { removed: RemovalState[]; swaps: Swap[] }

/**
 * Routes come back in their places with the upstreams of before the move, and switched ones get theirs: one edit of the
 * file and one reload for all services. Where nothing comes back, an edit that the user has not reloaded yet stands in no
 * way; else the file has its bytes again, and the reload is left to its owner (caddy-file-not-running).
 *
 * `underWay` is what other rollbacks may have written by now and died before it was loaded.
 *
 * @throws OnehopError caddy-place-gone, caddy-removal-unexpected, caddy-tokens-changed, caddy-*
 */
export async function restoreCaddyRoutes(
  systems: Systems,
  undo: CaddyUndo,
  { force = false, underWay }: { force?: boolean; underWay: CaddyUndo },
): Promise<{ reloaded: boolean }> {
  const routes = undo.removed.flatMap((each) => each.routes)
  if (routes.length === 0)
    return switchCaddyRoutes.write(systems, undo.swaps, { expectRunning: false, force, gone: true })
  const { caddy } = systems
  const switches = undo.swaps.flatMap(({ from, to }) => editsOf(from, to))
  const edits = [
    restoreEdit(routes, switches),
    ...(switches.length > 0 ? [caddy.switchEdit(switches, { force, gone: true })] : []),
  ]
  return caddy.editFile(edits, {
    backs: [undo, underWay].map((each) => (text) => textBefore(text, each)),
    expectRunning: false,
    sites: [...routes, ...switches].map(({ site }) => site),
  })
}

/** Each route as its own bytes; one that leads to its first upstream again is back, as an undo that was killed leaves it. */
function restoreEdit(routes: RouteRemoval[], switches: ReturnType<typeof editsOf>): FileEdit {
  const isBack = (text: string, route: RouteRemoval) =>
    switches.some(
      ({ site, to }) => route.sites.some((each) => sameSite(each, site)) && isBackAt(text, route, to),
    )
  return (text) => {
    const missing = routes.filter((each) => !isBack(text, each))
    return {
      text: missing.reduce(restoreRoute, text),
      judge: (_, after) => {
        // What comes back are the bytes that Caddy has run before, whatever was built around their place since.
        for (const { file, site, upstream } of missing)
          if (!adaptedDials(after, site).some((dial) => sameUpstream(dial, upstream)))
            throw new OnehopError('caddy-removal-unexpected', { file, site, path: site, found: 'no effect' })
      },
    }
  }
}

/** The text as it was before such an undo; `undefined` if it does not hold what the undo would have left. */
function textBefore(text: string, { removed, swaps }: CaddyUndo): string | undefined {
  const tokens = swaps
    .flatMap(({ from, to }) => editsOf(to, from))
    .flatMap(({ site, from, to }) =>
      findUpstreams(text, { site, upstream: from }).map((each) => ({ ...each, to })),
    )
  const once = [...new Map(tokens.map((each) => [each.start, each])).values()]
  try {
    return removed.flatMap((each) => each.routes).reduce(removeRoute, replaceUpstreams(text, once))
  } catch (thrown) {
    if (thrown instanceof OnehopError) return undefined
    throw thrown
  }
}
