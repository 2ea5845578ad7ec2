import { createKubernetes } from '../../src/systems/kubernetes.ts'
import { kubernetesContract } from '../contract/kubernetes.ts'
import { world } from './panda.ts'

// The simulation's cluster passes the same ones (test/unit/contract/kubernetes.test.ts).
let made = 0
kubernetesContract(async () => {
  const person = 'by-hand'
  const [namespace, name] = ['joelclaw', `contract-${++made}`]
  const kubectl = (...args: string[]) => world.kubectl(['-n', namespace, ...args])
  await kubectl('create', 'service', 'clusterip', name, '--tcp=80')
  return {
    kubernetes: createKubernetes({ context: 'admin@talos', kubeconfig: world.kubeconfig }),
    namespace,
    name,
    person,
    async edit(annotations) {
      const pairs = Object.entries(annotations).map(([key, value]) => `${key}=${value}`)
      await kubectl('annotate', 'service', name, '--overwrite', `--field-manager=${person}`, ...pairs)
    },
    [Symbol.asyncDispose]: async () => void (await kubectl('delete', 'service', name, '--wait=false')),
  }
})
