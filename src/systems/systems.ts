import type { Mesh } from '../plan/mesh.ts'
import { createBooks } from './books.ts'
import { createCaddy } from './caddy.ts'
import { createCaddyRequests } from './caddy-requests.ts'
import { createHelm } from './helm.ts'
import { createIngresses } from './ingresses.ts'
import { createKubernetes } from './kubernetes.ts'
import { createSockets } from './listeners.ts'
import { createOperatorObjects } from './operator-objects.ts'
import { createProbes } from './probes.ts'
import { createTailscale } from './tailscale.ts'
import { createWebhook } from './webhook.ts'

/** Everything that talks outward, made once from mesh.yaml and handed to the steps. */
export const createSystems = (mesh: Mesh) => ({
  kubernetes: createKubernetes(mesh.kubernetes),
  tailscale: createTailscale(mesh.tailscale),
  /** As the operator itself: for its own device and its own rights, and nothing else. */
  operatorClient: createTailscale({ ...mesh.tailscale, credentials: mesh.operator.credentials }),
  /** Made when it is asked for: systems are made anew for every step, and hardly any needs these six more clients. */
  get operatorObjects() {
    return createOperatorObjects(mesh.kubernetes)
  },
  get ingresses() {
    return createIngresses(mesh.kubernetes)
  },
  helm: createHelm(mesh.kubernetes),
  caddy: createCaddy(mesh.caddy),
  probes: createProbes(),
  sockets: createSockets(),
  caddyRequests: createCaddyRequests(mesh.caddy),
  books: createBooks(),
  webhook: createWebhook(),
})

export type Systems = ReturnType<typeof createSystems>
