import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryIngresses } from '../../../simulated/ingresses.ts'
import { ingressesContract } from '../../contract/ingresses.ts'

// The API server of the sandbox passes the same ones (test/real/contract-operator.test.ts).
ingressesContract(async () => {
  const cluster = createCluster({ random: () => 0, tailnet: 'sim.ts.net', changed: () => undefined })
  const by = { name: 'test', alive: true }
  return {
    ingresses: createMemoryIngresses({ effect: undisturbed.effect, cluster, by }),
    namespace: 'apps',
    [Symbol.asyncDispose]: async () => undefined,
  }
})
