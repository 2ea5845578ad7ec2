import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { scanMesh } from '../../../src/plan/scan.ts'
import { questionsOf } from '../../../src/plan/scan-comments.ts'
import type { Answers, Inventory, Spoken } from '../../../src/plan/scan-inventory.ts'
import { renderMesh } from '../../../src/plan/scan-yaml.ts'
import type { Snapshot } from '../../../src/plan/snapshot.ts'
import type { Container } from '../../../src/systems/docker.ts'
import type { ServiceFacts } from '../../../src/systems/kubernetes-facts.ts'

const captured: Required<Pick<Snapshot, 'cluster' | 'caddy'>> = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../examples/panda/snapshot.json'), 'utf8'),
)
const { text, adapted, running } = captured.caddy

/** The user's system as scan reads it, from what was captured of it; each part can be another one. */
export const panda = (parts: Partial<Inventory> = {}): Inventory => ({
  cluster: cluster(captured.cluster.services),
  docker: [talos],
  caddy: { file: '~/.local/caddy/Caddyfile', admin: 'http://localhost:2019', text, adapted, running },
  tailnet: {
    name: 'tail7af24.ts.net',
    from: 'tailscale status',
    self: { name: 'panda', addresses: ['100.64.0.1'], tags: [] },
    members: [{ name: 'clanker-001', addresses: ['100.64.0.2'], tags: [] }],
  },
  listeners: [{ port: 3111, process: 'bun' }],
  unread: [],
  ...parts,
})

export const cluster = (services: ServiceFacts[], more: Partial<Inventory['cluster']> = {}) => ({
  context: 'admin@talos',
  from: 'the current context of ~/.kube/config',
  namespaces: [],
  nodes: ['talos'],
  services,
  ...more,
})

/** A Service with node ports: port to nodePort. */
export const service = (name: string, ports: Record<number, number>, more: Partial<ServiceFacts> = {}) => ({
  namespace: 'apps',
  name,
  uid: name,
  resourceVersion: '1',
  type: 'NodePort',
  clusterIP: '10.96.0.9',
  annotations: {},
  finalizers: [],
  ports: Object.entries(ports).map(([port, nodePort]) => ({
    name: `p${port}`,
    port: Number(port),
    nodePort,
  })),
  ...more,
})

/** A container with its port maps: port of this machine to its own. */
export const container = (name: string, maps: Record<number, number>, isNode = false): Container => ({
  name,
  isNode,
  maps: Object.entries(maps).map(([port, containerPort]) => ({
    hostAddress: '0.0.0.0',
    hostPort: Number(port),
    containerPort,
    protocol: 'tcp',
  })),
})

const same = [6379, 6333, 6334, 8288, 8289, 7880, 7881, 8108].map((port) => [port, port])
export const talos = container('talos', { ...Object.fromEntries(same), 9627: 3000 })

const http = (path: string, inngest = false): Spoken => ({ kind: 'http', path, inngest })
/** As they were heard on the captured system. */
export const heard: Answers = new Map<number, Spoken>([
  [6379, { kind: 'redis' }],
  [6333, http('/')],
  [6334, { kind: 'tcp', inngest: false }],
  [8288, http('/health', true)],
  [8289, { kind: 'tcp', inngest: false }],
  [7880, http('/')],
  [7881, { kind: 'tcp', inngest: false }],
  [9627, http('/')],
  [8108, http('/health')],
])

/** What scan makes of it: the text, the mesh that it is, and its questions. */
export function scanned(inventory: Inventory, answers: Answers = heard) {
  const found = scanMesh(inventory, answers)
  const text = renderMesh(inventory, found)
  return { found, text, questions: questionsOf(text), mesh: () => parseMesh(text, 'mesh.yaml') }
}
