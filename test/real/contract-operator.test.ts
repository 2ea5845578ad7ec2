import { afterAll, beforeAll, describe, expect } from 'vitest'
import { ingressesContract } from '../contract/ingresses.ts'
import { operatorContract } from '../contract/operator.ts'
import { onehop, world } from './panda.ts'
import {
  helm,
  ingresses,
  kubernetes,
  operatorClient,
  operatorCredentials,
  operatorObjects,
  operatorOf,
  poll,
  tailscale,
} from './panda-systems.ts'

// The simulated cluster passes the same ones (test/unit/contract/operator.test.ts and ingresses.test.ts).
const remove = async () => expect((await onehop('operator', 'remove')).envelope.error).toBeNull()
beforeAll(remove)
afterAll(async () => expect((await onehop('operator', 'install')).envelope.error).toBeNull())

describe('Ingresses, while no operator looks at them', () =>
  ingressesContract(async () => {
    const namespace = await makeNamespace()
    return { ingresses, namespace, [Symbol.asyncDispose]: () => deleteNamespace(namespace) }
  }))

describe('the operator', () =>
  operatorContract(async () => {
    await remove()
    const made: string[] = []
    const { chart, version, values } = operatorOf()
    return {
      ...{ kubernetes, helm, operatorObjects, tailscale, operatorClient, poll },
      ...{ namespace: 'tailscale', release: 'tailscale-operator', chart, version },
      values: {
        ...values,
        operatorConfig: { ...values.operatorConfig, tolerations: [controlPlane] },
        proxyConfig: { ...values.proxyConfig, defaultProxyClass: 'onehop' },
      },
      client: operatorCredentials(),
      async makeNamespace() {
        const name = await makeNamespace()
        made.push(name)
        return name
      },
      async makeOAuthSecret(namespace) {
        await world.kubectl(['-n', namespace, 'create', 'secret', 'generic', 'operator-oauth'])
      },
      [Symbol.asyncDispose]: async () => void (await Promise.all(made.map(deleteNamespace))),
    }
  }))

const controlPlane = {
  key: 'node-role.kubernetes.io/control-plane',
  operator: 'Exists',
  effect: 'NoSchedule',
}

let namespaces = 0
async function makeNamespace(): Promise<string> {
  const name = `contract-${++namespaces}`
  await world.kubectl(['create', 'namespace', name])
  return name
}
const deleteNamespace = async (name: string) => void (await world.kubectl(['delete', 'namespace', name]))
