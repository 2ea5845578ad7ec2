import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryKubernetes } from '../../../simulated/kubernetes.ts'
import { kubernetesContract } from '../../contract/kubernetes.ts'

kubernetesContract(async () => {
  const person = 'by-hand'
  const object = { namespace: 'apps', name: 'redis' }
  const cluster = createCluster({
    random: undisturbed.random,
    tailnet: 'sim.ts.net',
    changed: () => undefined,
  })
  cluster.add({ ...object, clusterIP: '10.96.0.1', annotations: new Map(), finalizers: [], ports: [] })
  const kubernetes = createMemoryKubernetes({
    effect: undisturbed.effect,
    cluster,
    by: { name: 'test', alive: true },
    written: () => undefined,
  })
  return {
    kubernetes,
    person,
    ...object,
    async edit(annotations) {
      const found = cluster.objects.get('apps/redis')
      if (found) cluster.merge(found, person, annotations)
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
})
