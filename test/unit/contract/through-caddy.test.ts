import { expect, test } from 'vitest'
import { adaptCaddyfile } from '../../../simulated/adapt-caddyfile.ts'
import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryProbes } from '../../../simulated/probes.ts'
import { throughCaddyContract } from '../../contract/through-caddy.ts'

// A real Caddy passes the same ones (test/caddy/through-caddy.test.ts).
throughCaddyContract(async (write) => {
  const ports = [7001, 7002, 7003, 7004]
  const { probes } = made(write({ ports, one: 'localhost:9001', two: 'localhost:9002', dead: 'localhost:1' }))
  return { probes, ports, [Symbol.asyncDispose]: async () => undefined }
})

test('a fault of Caddy alone: it gets no answer from a device name that answers everybody else', async () => {
  const { probes, cluster } = made('http://panda.test:7001 {\n\treverse_proxy one.sim.ts.net:9001\n}\n')
  cluster.devices.set('n1', {
    ...{ id: 'n1', hostname: 'one', name: 'one.sim.ts.net', address: '100.64.1.1', tags: [] },
  })
  cluster.proxies.set('apps/one', {
    ...{ namespace: 'tailscale', tags: [], up: true, deviceId: 'n1', fqdn: 'one.sim.ts.net' },
  })
  const site = 'http://panda.test:7001'
  expect(await probes.throughCaddy(site, '/')).toMatchObject({ ok: true, identity: 'one' })
  cluster.state.faults.push({ kind: 'caddy-cannot-dial', service: 'apps/one' })
  expect(await probes.throughCaddy(site, '/')).toMatchObject({ ok: false, message: 'HTTP 502' })
  expect(await probes.http({ host: 'one.sim.ts.net', port: 9001 }, '/')).toMatchObject({ ok: true })
})

function made(caddyfile: string) {
  const cluster = createCluster({ random: () => 0, tailnet: 'sim.ts.net', changed: () => undefined })
  for (const [name, port] of [
    ['one', 9001],
    ['two', 9002],
  ] as const) {
    cluster.state.portMaps.set(port, port)
    cluster.add({
      ...{ namespace: 'apps', name, instance: name, clusterIP: '10.96.0.1' },
      ...{ annotations: new Map(), finalizers: [], ports: [{ name: 'main', port }] },
    })
  }
  const running = () => adaptCaddyfile(caddyfile)
  const by = { name: 'test', alive: true }
  return { cluster, probes: createMemoryProbes({ effect: undisturbed.effect, cluster, by, running }) }
}
