import { adaptedDials } from '../src/plan/caddyfile.ts'
import type { Answer, Probes } from '../src/systems/probes.ts'
import { type Cluster, keyOf } from './cluster.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/**
 * What a client on panda hears: the port map answers while there is a node port, a device name only while its device exists and its pod
 * runs, and an old URL if whatever Caddy dials for it answers.
 */
export function createMemoryProbes({ effect, cluster, by, running }: Options): Probes {
  const ask = (what: string, reached: () => string | undefined) =>
    effect(by, { system: 'probes', what }, (): Answer => {
      const identity = reached()
      return identity === undefined
        ? { ok: false, ms: 2000, message: 'no answer in 2000 ms', refused: false }
        : { ok: true, ms: 3, identity }
    })
  const at = ({ host, port }: { host: string; port: number }) => reach(cluster, `${host}:${port}`)
  return {
    tcp: (target) => ask(`tcp ${target.host}:${target.port}`, () => at(target)),
    http: (target) => ask(`http ${target.host}:${target.port}`, () => at(target)),
    https: (host) => ask(`https ${host}`, () => at({ host, port: 443 })),
    redis: (target) => ask(`redis ${target.host}:${target.port}`, () => at(target)),
    throughCaddy: (site) =>
      ask(`through Caddy ${site}`, () => {
        const reached = adaptedDials(running(), site).map((dial) => reach(cluster, dial))
        return reached.length > 0 && !reached.includes(undefined) ? reached[0] : undefined
      }),
    magicDns: (name) =>
      effect(by, { system: 'probes', what: `MagicDNS ${name}` }, () =>
        [...cluster.devices.values()].filter((each) => each.name === name).map((each) => each.address),
      ),
    resolve: (name) =>
      effect(by, { system: 'probes', what: `resolve ${name}` }, () => {
        const device = [...cluster.devices.values()].find((each) => each.name === name)
        const answer = device ? [device.address] : 'ENOTFOUND'
        return { magicDns: answer, system: answer }
      }),
  }
}

/** The backend that answers at host:port, if any does. */
export function reach(cluster: Cluster, address: string): string | undefined {
  const [host = '', port] = address.split(':')
  for (const object of cluster.objects.values()) {
    const key = keyOf(object)
    const served = object.ports.find((each) => String(each.port) === port)
    if (!served) continue
    if (host === 'localhost' || host === '127.0.0.1') return object.type === 'NodePort' ? key : undefined
    const proxy = cluster.proxies.get(key)
    const device = proxy?.deviceId ? cluster.devices.get(proxy.deviceId) : undefined
    if (device?.name === host && proxy?.up) return key
  }
  return undefined
}

type Options = { effect: Conditions['effect']; cluster: Cluster; by: Process; running: () => unknown }
