import type { Mesh } from '../plan/mesh.ts'
import { createProbes } from './probes.ts'
import type { Systems } from './systems.ts'
import { createTailscale } from './tailscale.ts'

/** What a machine needs that only probes: no cluster, no Caddy, and no credentials of Tailscale's API. */
export const createProbingSystems = (mesh: Mesh): Pick<Systems, 'probes' | 'tailscale'> => ({
  probes: createProbes(),
  tailscale: createTailscale(mesh.tailscale),
})
