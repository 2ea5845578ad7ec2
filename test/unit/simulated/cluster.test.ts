import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { type ClusterState, emptyCluster } from '../../../simulated/cluster-state.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryKubernetes } from '../../../simulated/kubernetes.ts'
import { pandaCluster } from '../../../simulated/panda.ts'
import { createMemoryProbes } from '../../../simulated/probes.ts'
import { createMemoryTailscale } from '../../../simulated/tailscale.ts'
import { exposeAnnotations } from '../../../src/plan/paths.ts'

const tailnet = 'tail7af24.ts.net'
const snapshot = JSON.parse(
  readFileSync(new URL('../../../examples/panda/snapshot.json', import.meta.url), 'utf8'),
)
const poll = <T>(look: () => T) => expect.poll(look, { timeout: 5000, interval: 5 })

/** The cluster of the example with the operator that Helm installs there, over a given state or a new one. */
function open(state: ClusterState = pandaCluster(snapshot), changed: () => void = () => undefined) {
  const cluster = createCluster({ random: () => 0, tailnet, changed, state })
  const of = { effect: undisturbed.effect, cluster, by: { name: 'test', alive: true } }
  return {
    cluster,
    state,
    kubernetes: createMemoryKubernetes(of),
    tailscale: createMemoryTailscale(of),
    probes: createMemoryProbes({ ...of, running: () => null }),
    object(key: string) {
      const found = cluster.objects.get(key)
      if (!found) throw new Error(`no Service ${key}`)
      return found
    },
    install() {
      cluster.applyNamespace('tailscale', 'privileged')
      cluster.applyOAuthSecret('tailscale', 'hash')
      const values = state.charts.get('tailscale-operator')?.values ?? {}
      cluster.install('tailscale', 'tailscale-operator', {
        ...{ chart: 'tailscale-operator', version: '1.102.4', values },
      })
    },
  }
}

const typesense = 'joelclaw/typesense'
const annotations = exposeAnnotations({ hostname: 'typesense', tag: 'tag:svc-typesense' })
const grant = (text: string) =>
  text
    .replace('"tagOwners": {', '"tagOwners": {\n    "tag:svc-typesense": ["tag:k8s-operator"],')
    .replace(
      '"grants": [',
      '"grants": [\n    {"src": ["panda"], "dst": ["tag:svc-typesense"], "ip": ["tcp:8108"]},',
    )

test("the example's world reads as its snapshot says", async () => {
  const { kubernetes, tailscale } = open()
  const { cluster, tailnet: its } = snapshot
  expect(await kubernetes.clusterId()).toBe(cluster.id)
  expect(await kubernetes.services()).toMatchObject(cluster.services)
  expect(await kubernetes.namespaces()).toEqual(cluster.namespaces)
  const ready = await kubernetes.readyPorts()
  for (const [key, ports] of Object.entries<string[]>(cluster.readyPorts))
    expect(ready[key]?.toSorted()).toEqual(ports.toSorted())
  expect(await kubernetes.proxies('tailscale')).toEqual({})
  expect(await kubernetes.operator('tailscale')).toBeUndefined()
  expect(await tailscale.devices()).toEqual(its.devices)
  expect(Object.keys(await tailscale.peers())).toEqual([`clanker-001.${tailnet}`])
})

test('its old paths answer by their own ports and protocols, the asymmetric one and the kept process too', async () => {
  const { probes } = open()
  const at = (port: number) => ({ host: 'localhost', port })
  for (const port of [6333, 8288, 8289, 7880, 9627, 8108, 3111])
    expect(await probes.http(at(port), '/'), String(port)).toMatchObject({ ok: true })
  for (const port of [6334, 7881]) expect(await probes.tcp(at(port))).toMatchObject({ ok: true })
  expect(await probes.redis(at(6379))).toMatchObject({
    ok: true,
    identity: expect.stringMatching(/^\w{40}$/),
  })
  // The PDS is published under another number, and docs-api is stopped.
  for (const port of [3000, 3838]) expect(await probes.tcp(at(port))).toMatchObject({ refused: true })
})

test('an annotated Service waits for the operator, and its device for the policy that lets this machine in', async () => {
  const { cluster, object, probes, install } = open()
  const target = { host: `typesense.${tailnet}`, port: 8108 }
  cluster.apply(object(typesense), 'onehop', annotations)
  await poll(() => cluster.idle()).toBe(true)
  expect(object(typesense).finalizers).toEqual([])
  install()
  await poll(() => object(typesense).finalizers.length > 0 && cluster.idle()).toBe(true)
  expect(cluster.proxies.size).toBe(0)
  cluster.setPolicy(grant(cluster.state.policy.text))
  await poll(() => cluster.proxies.get(typesense)?.fqdn).toBe(target.host)
  expect(await probes.http(target, '/health')).toMatchObject({ ok: true })
  expect(await probes.tcp({ ...target, port: 8109 })).toMatchObject({ ok: false, refused: false })
  // The device stays; this machine no longer knows it.
  cluster.setPolicy(
    cluster.state.policy.text.replace(
      '"src": ["panda"], "dst": ["tag:svc-typesense"]',
      '"src": ["clanker-001"], "dst": ["tag:svc-typesense"]',
    ),
  )
  expect(await probes.resolve(target.host)).toMatchObject({ magicDns: expect.stringContaining('ENOTFOUND') })
  expect(cluster.proxies.get(typesense)?.fqdn).toBe(target.host)
})

test('without a running operator nothing is taken back; the proxies go on', async () => {
  const { cluster, object, probes, install } = open()
  install()
  cluster.setPolicy(grant(cluster.state.policy.text))
  cluster.apply(object(typesense), 'onehop', annotations)
  await poll(() => cluster.proxies.get(typesense)?.fqdn).toBeDefined()
  cluster.uninstall('tailscale', 'tailscale-operator')
  await poll(() => cluster.state.operator).toBeUndefined()
  cluster.apply(object(typesense), 'onehop', {})
  await poll(() => cluster.idle()).toBe(true)
  expect(object(typesense).finalizers).toEqual(['tailscale.com/finalizer'])
  expect(await probes.http({ host: `typesense.${tailnet}`, port: 8108 }, '/')).toMatchObject({ ok: true })
})

test('a state that was saved at any moment goes on to the same end, and `changed` is called for every change', async () => {
  const saved: ClusterState[] = []
  const first = open(pandaCluster(snapshot), () => saved.push(structuredClone(first.state)))
  const isDone = ({ cluster }: ReturnType<typeof open>) =>
    cluster.proxies.get(typesense)?.fqdn !== undefined && cluster.idle()
  first.install()
  first.cluster.setPolicy(grant(first.state.policy.text))
  first.cluster.apply(first.object(typesense), 'onehop', annotations)
  await poll(() => isDone(first)).toBe(true)
  expect(saved.at(-1)).toEqual(first.state)
  const begun = saved.findIndex(({ services }) => services.get(typesense)?.annotations.size === 3)
  expect(saved.length - begun).toBeGreaterThan(4)
  for (const state of saved.slice(begun)) {
    const again = open(state)
    await poll(() => isDone(again)).toBe(true)
    const ends = ({ devices, proxies, operator }: ClusterState) => ({
      proxies,
      operator,
      names: [...devices.values()].map(({ name }) => name).sort(),
    })
    expect(ends(again.state).names).toEqual(ends(first.state).names)
    expect(again.state.operator?.running).toBe(true)
  }
})

test('a pod that was down when the state was saved comes back', async () => {
  const state = emptyCluster('panda', tailnet)
  state.proxies.set('apps/s1', { namespace: 'tailscale', tags: [], up: false })
  const { cluster } = open(state)
  expect(cluster.idle()).toBe(false)
  await poll(() => cluster.proxies.get('apps/s1')?.up).toBe(true)
})

test('somebody else changes or takes away one annotation, under a field manager of his own', async () => {
  const { cluster, object, kubernetes } = open()
  const service = object(typesense)
  cluster.apply(service, 'onehop', annotations)
  cluster.merge(service, 'kubectl-annotate', {
    'tailscale.com/hostname': 'search',
    'tailscale.com/tags': null,
  })
  expect((await kubernetes.service('joelclaw', 'typesense'))?.annotations).toEqual({
    'tailscale.com/expose': { value: 'true', manager: 'onehop' },
    'tailscale.com/hostname': { value: 'search', manager: 'kubectl-annotate' },
  })
})

test('a proxy waits for its ProxyClass, and a namespace that is not privileged keeps its pod from starting', async () => {
  const { cluster, object, install, state } = open()
  install()
  cluster.setPolicy(grant(state.policy.text))
  await poll(() => state.operator?.running).toBe(true)
  if (state.operator) state.operator.proxyClass = 'onehop'
  cluster.applyNamespace('tailscale', '')
  cluster.apply(object(typesense), 'onehop', annotations)
  await poll(() => object(typesense).finalizers.length > 0 && cluster.idle()).toBe(true)
  expect(cluster.proxies.size).toBe(0)
  cluster.applyProxyClass('onehop')
  await poll(() => cluster.proxies.size === 1 && cluster.idle()).toBe(true)
  expect(cluster.proxies.get(typesense)).not.toHaveProperty('deviceId')
  cluster.applyNamespace('tailscale', 'privileged')
  await poll(() => cluster.proxies.get(typesense)?.fqdn).toBe(`typesense.${tailnet}`)
})

test('an Ingress of the operator answers on 443 under its own name', async () => {
  const { cluster, probes, install } = open()
  install()
  const text = grant(cluster.state.policy.text).replace('"tcp:8108"', '"tcp:443"')
  cluster.setPolicy(text)
  cluster.createIngress('joelclaw', 'onehop-typesense', {
    ...{ hostname: 'typesense', tag: 'tag:svc-typesense', service: 'typesense', port: 8108 },
  })
  const key = 'ingress:joelclaw/onehop-typesense'
  const name = `typesense.${tailnet}`
  await poll(() => cluster.proxies.get(key)?.httpsEndpoint).toBe(name)
  expect(await probes.https(name, '/')).toMatchObject({ ok: true, identity: typesense })
  expect(await probes.tcp({ host: name, port: 8108 })).toMatchObject({ ok: false })
  cluster.deleteIngress('joelclaw/onehop-typesense')
  await poll(() => cluster.state.ingresses.size === 0 && !cluster.proxies.has(key)).toBe(true)
  expect([...cluster.devices.values()].some((each) => each.name === name)).toBe(false)
})
