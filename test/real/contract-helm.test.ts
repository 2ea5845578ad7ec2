import { fileURLToPath } from 'node:url'
import { helmContract } from '../contract/helm.ts'
import { world } from './panda.ts'
import { helm } from './panda-systems.ts'

// The simulated Helm passes the same ones (test/unit/contract/helm.test.ts).
let made = 0
helmContract(async () => {
  const of = { release: `contract-${++made}`, namespace: 'contract-helm' }
  await world.kubectl(['create', 'namespace', of.namespace])
  return {
    ...of,
    helm,
    chart: fileURLToPath(new URL('../fixtures/chart', import.meta.url)),
    [Symbol.asyncDispose]: async () => void (await world.kubectl(['delete', 'namespace', of.namespace])),
  }
})
