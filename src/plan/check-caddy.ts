import { caddyNotRunning } from './caddy-variables.ts'
import { diffAdapted } from './caddyfile.ts'
import { bad, good, type Judge, wasRead } from './check-judge.ts'
import { selectServices } from './mesh.ts'
import { countsRequests } from './request-counts.ts'

/** Caddy: its process, its program and its file. */
export const caddyChecks = {
  'caddy-answers': wasRead('caddy-answers', ({ mesh }) => mesh.caddy.admin),
  'caddy-version': wasRead('caddy-version', ({ facts }) => facts.caddy.version ?? ''),
  'caddy-file-readable': wasRead('caddy-file-readable', ({ mesh }) => mesh.caddy.file),
  'caddy-file-valid': wasRead('caddy-file-valid'),
  'caddy-runs-file': ({ mesh, facts: { caddy } }) => {
    const [first] = diffAdapted(caddy.adapted, caddy.running)
    if (!first) return good()
    const { variables = [] } = caddy
    return { failure: caddyNotRunning({ ...mesh.caddy, path: first.path, variables }).toJSON() }
  },
  'caddy-counts': ({ mesh, facts: { caddy } }) => {
    const routed = selectServices(mesh).some(({ routes }) => Object.keys(routes).length > 0)
    if (!routed) return undefined
    return countsRequests(caddy.running) ? good() : bad({ file: mesh.caddy.file })
  },
} satisfies Record<string, Judge>
