import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryKubernetes } from '../../../simulated/kubernetes.ts'
import { kubernetesContract } from '../../contract/kubernetes.ts'

// The API server of the sandbox passes the same ones (test/real/contract.test.ts).
kubernetesContract(async (nodePort) => {
  const [maker, person, namespace] = ['kubectl-create', 'by-hand', 'apps']
  const cluster = createCluster({
    random: undisturbed.random,
    tailnet: 'sim.ts.net',
    changed: () => undefined,
  })
  const add = (name: string, number: number | undefined) =>
    cluster.add({
      ...{ namespace, name, clusterIP: '10.96.0.1', annotations: new Map(), finalizers: [], down: true },
      ...{ type: number === undefined ? 'ClusterIP' : 'NodePort', typeOwners: [maker] },
      ports: [{ name: '80', port: 80, ...(number !== undefined && { nodePort: number }) }],
    })
  add('redis', nodePort)
  const kubernetes = createMemoryKubernetes({
    ...{ effect: undisturbed.effect, cluster, by: { name: 'test', alive: true } },
  })
  return {
    ...{ kubernetes, maker, person, namespace, name: 'redis' },
    async edit(annotations) {
      const found = cluster.objects.get('apps/redis')
      if (found) cluster.merge(found, person, annotations)
    },
    async takeNodePort(number) {
      add('holder', number)
      return 'holder'
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
})
