import { createHash } from 'node:crypto'
import type { Snapshot } from '../src/plan/snapshot.ts'
import { type ClusterState, emptyCluster, type ServicePort, type Speaks } from './cluster-state.ts'

/**
 * The cluster and the tailnet of examples/panda before onehop comes, from its snapshot.json: what the snapshot says, and of
 * the machine what the example's Caddyfile and mesh.yaml lead to.
 *
 * @throws Error for a snapshot without its cluster, its policy or the machine
 */
export function pandaCluster(snapshot: Snapshot, machine = 'panda'): ClusterState {
  const { cluster, tailnet, policy } = snapshot
  const self = tailnet?.devices.find(({ hostname }) => hostname === machine)
  if (!cluster || policy === undefined || !self)
    throw new Error(`the snapshot has no cluster, no policy, or no device ${machine}`)
  const state = emptyCluster(self.id)
  state.id = cluster.id
  state.devices = new Map(
    tailnet?.devices.map(({ id, name, hostname, addresses, tags }) => [
      id,
      {
        ...{ id, name, hostname, address: addresses[0] ?? '', tags: [...tags] },
        ...(tags.length === 0 && { user: 'joel@' }),
      },
    ]),
  )
  state.made = state.devices.size
  state.policy = { text: policy, enforced: true }
  state.namespaces = new Map(
    Object.entries(cluster.namespaces).map(([name, podSecurity]) => [name, { podSecurity, ours: false }]),
  )
  for (const facts of cluster.services) {
    const { namespace, name, uid, clusterIP, helmRelease, resourceVersion } = facts
    const key = `${namespace}/${name}`
    const ports = facts.ports.map((each): ServicePort => ({ ...each, speaks: speaks(each.name) }))
    state.services.set(key, {
      ...{ namespace, name, uid, clusterIP, ports, annotations: new Map(), finalizers: [] },
      version: Number(resourceVersion),
      type: facts.type === 'NodePort' ? 'NodePort' : 'ClusterIP',
      typeOwners: [helmRelease === undefined ? 'kubectl-client-side-apply' : 'helm'],
      ...(helmRelease !== undefined && { helmRelease }),
      // A Redis draws its run_id when it starts.
      ...(name === 'redis' && { instance: createHash('sha1').update(uid).digest('hex') }),
      // LiveKit's pod is on the node's own network.
      ...(name === 'livekit' && { onNode: true }),
    })
    if (helmRelease !== undefined)
      state.releases.set(`${namespace}/${helmRelease}`, {
        ...{ chart: 'stand-in', version: '1.0.0', revision: 1 },
        values: { image: 'localhost/base:1', service: { type: facts.type }, ports: facts.ports },
      })
    // Docker publishes each node port under its own number, but for the PDS.
    for (const { nodePort } of facts.ports)
      if (nodePort !== undefined) state.portMaps.set(name === 'pds' ? 9627 : nodePort, nodePort)
  }
  state.version = Math.max(...cluster.services.map(({ resourceVersion }) => Number(resourceVersion)))
  state.processes = new Map([[3111, { name: 'worker', speaks: 'http' }]])
  return state
}

const speaks = (port: string): Speaks =>
  ['http', 'api', 'connect'].includes(port) ? 'http' : port === 'redis' ? 'redis' : 'other'
