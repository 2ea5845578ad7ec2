import type { Context, Handler } from 'hono'
import { OnehopError } from './errors.ts'

/**
 * Wraps a handler so that it answers only requests for one of these hosts, and none that a page of another site makes.
 * DNS rebinding shows in Host: the attacker's name leads to this machine. Other pages show in Origin and Sec-Fetch-Site.
 *
 * Each route of the worker wraps its own handler. A middleware would also reach routes of the app that onehop is mounted in.
 */
export const guarded =
  (hosts: AllowedHost[], handler: (context: Context) => Promise<Response>): Handler =>
  async (context) => {
    const refusal = refusalOf(context.req.raw, hosts)
    return refusal ? context.json(refusal.toJSON(), 403) : handler(context)
  }

/** A host that the worker answers for: at these ports, where `''` means that none is written, or at any port. */
export type AllowedHost = { name: string; ports?: string[] }

/**
 * The hosts that mesh.yaml names (worker.listen, worker.hosts, engine.serveOrigin) and the loopback names of this machine.
 *
 * The loopback names count at `port`. In another app `port` is unknown, and they count at every port: a browser sends them
 * only for pages of this machine, never for a name that an attacker owns.
 */
export function allowedHosts({ listen, hosts, serveOrigin, port }: Doors): AllowedHost[] {
  const loopback = ['localhost', '127.0.0.1', '[::1]'].map((name) => ({
    name,
    ...(port !== undefined && { ports: portsOf(String(port)) }),
  }))
  const named = [listen, ...hosts].flatMap((host): AllowedHost[] => {
    const found = parseHost(host)
    return found ? [{ name: found.name, ...(found.port !== '' && { ports: portsOf(found.port) }) }] : []
  })
  if (serveOrigin === undefined) return [...loopback, ...named]
  const { hostname: name, port: written, protocol } = new URL(serveOrigin)
  return [...loopback, ...named, { name, ports: portsOf(written || (protocol === 'https:' ? '443' : '80')) }]
}

type Doors = { listen: string; hosts: string[]; serveOrigin?: string | undefined; port?: number | undefined }

/** How Host may write a port: clients leave out the usual ones. */
const portsOf = (port: string) => (port === '80' || port === '443' ? ['', port] : [port])

/** Why a request gets no answer; `undefined` if it gets one. */
function refusalOf({ url, headers }: Request, allowed: AllowedHost[]): OnehopError | undefined {
  // A request target in absolute form names a host too, and runtimes differ in which of the two they put into the URL.
  const hosts = [headers.get('host') ?? hostOf(url), hostOf(url)]
  const foreign = hosts.find((host) => !isAllowed(host, allowed))
  if (foreign !== undefined) return new OnehopError('host-refused', { host: foreign || '(none)' })
  const origin = headers.get('origin')
  const [, page = ''] = /^https?:\/\/(.+)$/.exec(origin ?? '') ?? []
  if (origin !== null && !hosts.every((host) => isSameHost(page, host)))
    return new OnehopError('origin-refused', { origin })
  const site = headers.get('sec-fetch-site') ?? 'none'
  if (site !== 'none' && site !== 'same-origin')
    return new OnehopError('origin-refused', { origin: `Sec-Fetch-Site: ${site}` })
  return undefined
}

function isAllowed(text: string, allowed: AllowedHost[]): boolean {
  const host = parseHost(text)
  return allowed.some(
    ({ name, ports }) => name === host?.name && (ports === undefined || ports.includes(host.port)),
  )
}

function isSameHost(one: string, other: string): boolean {
  const [first, second] = [parseHost(one), parseHost(other)]
  return first !== undefined && first.name === second?.name && first.port === second.port
}

/**
 * Name and port of a Host header; `undefined` for anything else. `new URL` would accept too much (`user@host`, `host/path`,
 * `0x7f000001` for 127.0.0.1). It is used for IPv6 addresses alone, which have several spellings.
 */
function parseHost(text: string): { name: string; port: string } | undefined {
  const [, name, port = ''] = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text.toLowerCase()) ?? []
  if (name === undefined) return undefined
  if (!name.startsWith('[')) return { name, port }
  const address = URL.parse(`http://${name}`)?.hostname
  return address === undefined ? undefined : { name: address, port }
}

const hostOf = (url: string) => URL.parse(url)?.host ?? ''
