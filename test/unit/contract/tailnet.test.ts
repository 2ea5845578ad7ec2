import { expect, test } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { emptyCluster } from '../../../simulated/cluster-state.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryKubernetes } from '../../../simulated/kubernetes.ts'
import { createMemoryTailscale } from '../../../simulated/tailscale.ts'
import { tailnetContract } from '../../contract/tailnet.ts'

const tailnet = 'sim.ts.net'
const poll = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: 5000, interval: 10 })

// The sandbox's tailnet passes the same ones (test/real/contract-tailnet.test.ts).
tailnetContract(async () => ({ ...made(), [Symbol.asyncDispose]: async () => undefined }))

test('a client without the scope for it may neither make keys nor delete devices', async () => {
  const { tailscale } = made()
  const forbidden = { code: 'tailscale-refused', message: expect.stringContaining('403') }
  await expect(tailscale.tryKey(['tag:svc-contract'])).rejects.toMatchObject(forbidden)
  await expect(tailscale.deleteDevice('neighbour')).rejects.toMatchObject(forbidden)
})

test('a device whose tag the operator may give from now on comes', async () => {
  const { kubernetes, tailscale, cluster, makeService } = made()
  const [namespace, name] = await makeService()
  const object = cluster.objects.get(`${namespace}/${name}`)
  if (!object) throw new Error('no Service')
  cluster.apply(object, 'onehop', {
    'tailscale.com/expose': 'true',
    'tailscale.com/tags': 'tag:svc-unowned',
  })
  await poll(async () => object.finalizers.length).toBe(1)
  expect(await kubernetes.proxies('tailscale')).toEqual({})
  const { text, etag } = await tailscale.policy()
  await tailscale.setPolicy({ text: text.replace('"joel@", "jane@"', '"tag:k8s-operator"'), etag })
  await poll(async () => (await kubernetes.proxies('tailscale'))[`${namespace}/${name}`]?.fqdn).toBe(
    `${namespace}-${name}.${tailnet}`,
  )
})

function made() {
  let services = 0
  const state = emptyCluster('panda', tailnet)
  state.namespaces.set('tailscale', { podSecurity: 'privileged', ours: true })
  state.namespaces.set('apps', { podSecurity: '', ours: false })
  state.operator = {
    ...{ namespace: 'tailscale', release: 'tailscale-operator', version: '1.102.4', running: true },
    ...{ hostname: 'tailscale-operator', tag: 'tag:k8s-operator', proxyTag: 'tag:k8s', proxyClass: '' },
    deviceId: 'operator',
  }
  state.oauthSecrets.set('tailscale', { ours: true, hash: '' })
  const machine = (id: string, hostname: string, address: string) =>
    state.devices.set(id, {
      ...{ id, hostname, address, name: `${hostname}.${tailnet}`, tags: [], user: 'joel@' },
    })
  machine('neighbour', 'clanker-001', '100.64.0.2')
  state.devices.set('operator', {
    ...{ id: 'operator', hostname: 'tailscale-operator', name: `tailscale-operator.${tailnet}` },
    ...{ address: '100.64.0.3', tags: ['tag:k8s-operator'] },
  })
  state.policy = {
    enforced: true,
    text: `{
      "tagOwners": {
        "tag:k8s-operator": ["joel@"],
        "tag:svc-contract": ["tag:k8s-operator"],
        "tag:svc-unowned": ["joel@", "jane@"],
      },
      "grants": [
        {"src": ["joel@"], "dst": ["joel@"], "ip": ["*"]},
        {"src": ["joel@"], "dst": ["tag:svc-contract"], "ip": ["tcp:80"]},
      ],
    }`,
  }
  const cluster = createCluster({ random: () => 0, tailnet, changed: () => undefined, state })
  const of = { effect: undisturbed.effect, cluster, by: { name: 'test', alive: true } }
  const strange = createCluster({ random: () => 0, tailnet, changed: () => undefined })
  strange.state.clients.clear()
  return {
    cluster,
    kubernetes: createMemoryKubernetes(of),
    tailscale: createMemoryTailscale(of),
    operatorClient: createMemoryTailscale({ ...of, client: 'operator' as const }),
    unknownClient: createMemoryTailscale({ ...of, cluster: strange }),
    ...{ tailnet, machine: 'panda', neighbour: 'clanker-001', operatorNamespace: 'tailscale', poll },
    async makeService(): Promise<[string, string]> {
      const name = `s${++services}`
      cluster.add({
        ...{ namespace: 'apps', name, clusterIP: `10.96.0.${services}`, finalizers: [] },
        ...{ annotations: new Map(), ports: [{ name: 'http', port: 80 }] },
      })
      return ['apps', name]
    },
    // Where nothing is left to do, the operator was refused.
    refusedKey: () => poll(async () => cluster.idle()).toBe(true),
  }
}
