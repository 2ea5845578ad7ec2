import type { Mesh } from '../plan/mesh.ts'
import { createCaddy } from './caddy.ts'
import { createHelm } from './helm.ts'
import { createKubernetes } from './kubernetes.ts'
import { createProbes } from './probes.ts'
import { createTailscale } from './tailscale.ts'

/** Everything that talks outward, made once from mesh.yaml and handed to the steps. */
export const createSystems = (mesh: Mesh) => ({
  kubernetes: createKubernetes(mesh.kubernetes),
  tailscale: createTailscale(mesh.tailscale),
  helm: createHelm(mesh.kubernetes),
  caddy: createCaddy(mesh.caddy),
  probes: createProbes(),
})

export type Systems = ReturnType<typeof createSystems>
