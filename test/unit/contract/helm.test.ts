import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryHelm } from '../../../simulated/helm.ts'
import { helmContract } from '../../contract/helm.ts'

// The real Helm passes the same ones (test/real/contract-helm.test.ts).
helmContract(async () => {
  const chart = './tiny'
  const cluster = createCluster({ random: () => 0, tailnet: 'sim.ts.net', changed: () => undefined })
  cluster.state.namespaces.set('apps', { podSecurity: '', ours: false })
  cluster.state.charts.set(chart, {
    name: 'tiny',
    version: '1.2.3',
    values: { kept: true, nested: { mine: 'chart', also: 'chart' } },
    requires: { value: 'note', message: 'a note is needed' },
  })
  const helm = createMemoryHelm({
    ...{ effect: undisturbed.effect, cluster, by: { name: 'test', alive: true } },
  })
  return {
    ...{ helm, namespace: 'apps', release: 'tiny', chart },
    [Symbol.asyncDispose]: async () => undefined,
  }
})
