import type { Answer, Probes } from '../src/systems/probes.ts'
import { type Cluster, keyOf } from './cluster.ts'
import type { ServicePort, Speaks, TailnetDevice } from './cluster-state.ts'
import type { Conditions } from './effect.ts'
import { mayReach } from './policy.ts'
import type { Process } from './process.ts'

/**
 * What a client on this machine hears: a port map answers while there is a node port behind it, a device name while its device
 * exists, its pod runs and the policy lets this machine in, and an old URL if whatever Caddy dials for it answers.
 */
export function createMemoryProbes({ effect, cluster, by, running }: Options): Probes {
  const ask = (what: string, answer: () => Answer) => effect(by, { system: 'probes', what }, answer)
  const talk = (kind: Speaks | 'tcp') => (target: Target) =>
    ask(`${kind} ${target.host}:${target.port}`, () => {
      const found = find(cluster, target)
      if ('problem' in found) {
        // Docker's port map accepts first, and dials then.
        if (kind === 'tcp' && isLoopback(target.host) && cluster.state.portMaps.has(target.port)) return yes()
        return found.problem
      }
      if (kind === 'tcp') return yes()
      if (found.speaks !== 'anything' && found.speaks !== kind)
        return no(kind === 'http' ? 'Parse Error: Expected HTTP/' : 'answered "HTTP/1.1 400 Bad Request"')
      return yes(found.instance)
    })
  return {
    tcp: talk('tcp'),
    http: talk('http'),
    redis: talk('redis'),
    https: (host) =>
      ask(`https ${host}`, () => {
        const found = find(cluster, { host, port: 443 })
        return 'problem' in found ? found.problem : yes(found.instance)
      }),
    throughCaddy: (site, path) =>
      ask(`through Caddy ${site}`, () => {
        const [, scheme, name = '', written] = /^(?:(https?):\/\/)?([^:/]*)(?::(\d+))?/.exec(site) ?? []
        const port = written ?? (scheme === 'http' ? '80' : '443')
        const served = serve(running(), { host: name || 'localhost', port, path })
        if (!served) return no(`connect ECONNREFUSED 127.0.0.1:${port}`, { refused: true })
        if (!('dials' in served)) return yes(served.body)
        const found = served.dials.map((dial) => dialled(cluster, dial))
        const silent = found.find((each) => 'problem' in each)
        if (silent || found.length === 0) return no('HTTP 502')
        return yes(found.map((each) => ('instance' in each ? each.instance : ''))[0])
      }),
    magicDns: (name) =>
      effect(by, { system: 'probes', what: `MagicDNS ${name}` }, () => {
        const device = named(cluster, name)
        return device ? [device.address] : []
      }),
    resolve: (name) =>
      effect(by, { system: 'probes', what: `resolve ${name}` }, () => {
        const device = named(cluster, name)
        if (device) return { magicDns: [device.address], system: [device.address] }
        return { magicDns: `queryA ENOTFOUND ${name}`, system: `getaddrinfo ENOTFOUND ${name}` }
      }),
  }
}

/** The Service (`namespace/name`) or process that answers at host:port, if any does. */
export function reach(cluster: Cluster, address: string): string | undefined {
  const found = find(cluster, targetOf(address))
  return 'problem' in found ? undefined : found.key
}

/** What a dial of Caddy's reaches. */
function dialled(cluster: Cluster, dial: string): Found {
  const found = find(cluster, targetOf(dial))
  const isLost = ({ kind, service }: Cluster['state']['faults'][number]) =>
    kind === 'caddy-cannot-dial' && 'key' in found && found.key === service
  return !isLoopback(targetOf(dial).host) && cluster.state.faults.some(isLost) ? { problem: silence } : found
}

function find(cluster: Cluster, { host, port }: Target): Found {
  const { state } = cluster
  if (isLoopback(host)) {
    const process = state.processes.get(port)
    if (process) return { key: process.name, instance: process.name, speaks: process.speaks }
    const nodePort = state.portMaps.get(port)
    if (nodePort === undefined)
      return { problem: no(`connect ECONNREFUSED 127.0.0.1:${port}`, { refused: true }) }
    for (const object of cluster.objects.values()) {
      const served = object.ports.find(
        (each) =>
          each.nodePort === nodePort || (object.onNode && (each.targetPort ?? each.port) === nodePort),
      )
      if (served) return object.down ? { problem: silence } : answerOf(object, served)
    }
    return { problem: silence }
  }
  const device = named(cluster, host)
  if (!device) return { problem: no(`getaddrinfo ENOTFOUND ${host}`) }
  const { enforced, text } = state.policy
  if (enforced && !mayReach(text, cluster.machine(), device, port)) return { problem: silence }
  for (const [key, proxy] of cluster.proxies) {
    if (proxy.deviceId !== device.id) continue
    if (!proxy.up) return { problem: silence }
    const ingress = state.ingresses.get(key.replace(/^ingress:/, ''))
    const isIngress = key.startsWith('ingress:')
    const object = isIngress
      ? cluster.objects.get(`${ingress?.namespace}/${ingress?.wish.service}`)
      : cluster.objects.get(key)
    const wanted = isIngress ? (port === 443 && proxy.httpsEndpoint ? ingress?.wish.port : undefined) : port
    const served = object?.ports.find((each) => each.port === wanted)
    return object && served && !object.down ? answerOf(object, served) : { problem: silence }
  }
  return { problem: silence }
}

/** A name of the tailnet that this machine knows. */
function named(cluster: Cluster, name: string): TailnetDevice | undefined {
  const found = [...cluster.devices.values()].find((each) => each.name === name)
  return found && (found === cluster.machine() || cluster.isPeer(found)) ? found : undefined
}

const answerOf = (object: { namespace: string; name: string; instance?: string }, port: ServicePort) => ({
  key: keyOf(object),
  instance: object.instance ?? keyOf(object),
  speaks: port.speaks ?? 'anything',
})

/** How a config of Caddy serves a request: by these upstreams, or by itself; nothing where it does not listen there. */
function serve(config: unknown, { host, port, path }: { host: string; port: string; path: string }) {
  const servers = Object.values(fieldOf(config, 'apps', 'http', 'servers') ?? {})
  const server = servers.find((each) => listOf(each, 'listen').includes(`:${port}`))
  return server === undefined ? undefined : (walk(listOf(server, 'routes')) ?? { body: '' })

  /** The first handler that answers. Of a group only the first route that matches counts. */
  function walk(routes: unknown[]): { dials: string[] } | { body: string } | undefined {
    const groups = new Set<unknown>()
    for (const route of routes) {
      const matchers = listOf(route, 'match')
      const group = fieldOf(route, 'group')
      if ((matchers.length > 0 && !matchers.some(isMatch)) || groups.has(group)) continue
      if (group !== undefined) groups.add(group)
      for (const handler of listOf(route, 'handle')) {
        const kind = fieldOf(handler, 'handler')
        if (kind === 'reverse_proxy')
          return { dials: listOf(handler, 'upstreams').map((each) => String(fieldOf(each, 'dial'))) }
        if (kind === 'static_response') return { body: String(fieldOf(handler, 'body') ?? '') }
        const within = kind === 'subroute' ? walk(listOf(handler, 'routes')) : undefined
        if (within) return within
      }
      if (fieldOf(route, 'terminal')) return undefined
    }
    return undefined
  }

  function isMatch(matcher: unknown): boolean {
    const [hosts, paths] = [fieldOf(matcher, 'host'), fieldOf(matcher, 'path')]
    const isPath = (pattern: unknown) =>
      String(pattern).endsWith('*') ? path.startsWith(String(pattern).slice(0, -1)) : path === pattern
    return (!Array.isArray(hosts) || hosts.includes(host)) && (!Array.isArray(paths) || paths.some(isPath))
  }
}

const fieldOf = (value: unknown, ...path: string[]): unknown =>
  path.reduce<unknown>((node, key) => (node as Record<string, unknown> | null | undefined)?.[key], value)
const listOf = (value: unknown, name: string): unknown[] => {
  const found = fieldOf(value, name)
  return Array.isArray(found) ? found : []
}

const isLoopback = (host: string) => host === 'localhost' || host === '127.0.0.1'

function targetOf(address: string): Target {
  const [host = '', port] = address.split(':')
  return { host, port: Number(port) }
}

const yes = (identity?: string): Answer => ({ ok: true, ms: 3, ...(identity !== undefined && { identity }) })
const no = (message: string, { ms = 1, refused = false } = {}): Failed => ({
  ok: false,
  ms,
  message,
  refused,
})
const silence = no('no answer in 2000 ms', { ms: 2000 })

type Target = { host: string; port: number }
type Failed = Extract<Answer, { ok: false }>
type Found = { key: string; instance: string; speaks: Speaks } | { problem: Failed }
type Options = { effect: Conditions['effect']; cluster: Cluster; by: Process; running: () => unknown }
