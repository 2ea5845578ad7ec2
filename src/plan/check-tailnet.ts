import { bad, good, type Judge, unless, wasRead } from './check-judge.ts'
import { preflightMesh } from './preflight.ts'

/** The tailnet, by Tailscale's API and by this machine's own tailscaled. */
export const tailnetChecks = {
  'tailscale-key-files': wasRead('tailscale-key-files'),
  'tailscale-api-answers': wasRead('tailscale-api-answers', ({ mesh }) => mesh.tailscale.api),
  'tailscale-rights': wasRead('tailscale-rights'),
  'tailnet-named': ({ mesh, facts }) => {
    const names = (facts.snapshot.tailnet?.devices ?? []).map(({ name }) => name)
    const [found] = names
    if (found === undefined || names.some((name) => name.endsWith(`.${mesh.tailnet}`)))
      return good(mesh.tailnet)
    return bad({ wanted: mesh.tailnet, found })
  },
  'tailscaled-answers': wasRead('tailscaled-answers'),
  'magicdns-accepted': ({ mesh, facts: { dns, peers = {} } }) => {
    if (!dns) return good('there is no other device to ask for')
    const problems = preflightMesh(mesh, { tailscaled: { peers, dns }, journal: [], failures: [] })
    return unless(
      problems.find(({ code }) => code === 'dns-not-accepted'),
      dns.name,
    )
  },
} satisfies Record<string, Judge>
