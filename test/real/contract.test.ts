import { createKubernetes } from '../../src/systems/kubernetes.ts'
import { kubernetesContract } from '../contract/kubernetes.ts'
import { world } from './panda.ts'

// The simulation's cluster passes the same ones (test/unit/contract/kubernetes.test.ts).
let made = 0
kubernetesContract(async (nodePort) => {
  const [maker, person, namespace] = ['kubectl-create', 'by-hand', 'joelclaw']
  const name = `contract-${++made}`
  const kubectl = (...args: string[]) => world.kubectl(['-n', namespace, ...args])
  const create = (its: string, number: number | undefined) =>
    number === undefined
      ? kubectl('create', 'service', 'clusterip', its, '--tcp=80')
      : kubectl('create', 'service', 'nodeport', its, '--tcp=80', `--node-port=${number}`)
  const names = [name]
  await create(name, nodePort)
  return {
    kubernetes: createKubernetes({ context: 'admin@talos', kubeconfig: world.kubeconfig }),
    ...{ maker, person, namespace, name },
    async edit(annotations) {
      const pairs = Object.entries(annotations).map(([key, value]) => `${key}=${value}`)
      await kubectl('annotate', 'service', name, '--overwrite', `--field-manager=${person}`, ...pairs)
    },
    async takeNodePort(number) {
      const holder = `${name}-holder`
      await create(holder, number)
      names.push(holder)
      return holder
    },
    [Symbol.asyncDispose]: async () => void (await kubectl('delete', 'service', ...names, '--wait=false')),
  }
})
