import type { Context, Handler } from 'hono'
import { OnehopError } from './errors.ts'

/**
 * A handler that answers only what is asked for under one of these hosts, and by no page of another site. A name of an
 * attacker that leads to this machine (DNS rebinding) stands in Host, and a page that he wrote in Origin or Sec-Fetch-Site.
 *
 * Each route has it around its own handler: a middleware would reach the routes of the app that onehop is mounted in.
 */
export const guarded =
  (hosts: AllowedHost[], handler: (context: Context) => Promise<Response>): Handler =>
  async (context) => {
    const refusal = refusalOf(context.req.raw, hosts)
    return refusal ? context.json(refusal.toJSON(), 403) : handler(context)
  }

/** A host by which the worker may be asked; without `ports` at any port, and `''` is the port that is not written. */
export type AllowedHost = { name: string; ports?: string[] }

/**
 * The hosts of mesh.yaml: worker.listen, engine.serveOrigin's, worker.hosts, and the names of this machine itself. Mounted in
 * another app, only that app knows where it listens (`port` is absent): then the machine's own names are good at any port,
 * since no page can make a browser ask for them under a name of the page's choice.
 */
export function allowedHosts({ listen, hosts, serveOrigin, port }: Doors): AllowedHost[] {
  const own = parseHost(listen)
  const machine = ['localhost', '127.0.0.1', '[::1]'].map((name) =>
    port === undefined ? { name } : { name, ports: portsOf(String(port)) },
  )
  const named = hosts.flatMap((host): AllowedHost[] => {
    const found = parseHost(host)
    return found ? [found.port === '' ? { name: found.name } : { name: found.name, ports: [found.port] }] : []
  })
  const origin = serveOrigin === undefined ? undefined : new URL(serveOrigin)
  const served = origin && { name: origin.hostname, ports: portsOf(origin.port, origin.protocol) }
  return [
    ...(own ? [{ name: own.name, ports: portsOf(own.port) }] : []),
    ...machine,
    ...named,
    ...(served ? [served] : []),
  ]
}

type Doors = { listen: string; hosts: string[]; serveOrigin?: string | undefined; port?: number | undefined }

/** How a port is written in Host: that of the scheme may be left out. */
function portsOf(port: string, scheme = 'http:'): string[] {
  const usual = scheme === 'https:' ? '443' : '80'
  return port === '' || port === usual ? ['', usual] : [port]
}

/** Why a request is not answered, if it is not. */
function refusalOf({ url, headers }: Request, allowed: AllowedHost[]): OnehopError | undefined {
  // A request target in absolute form names a host as well, and a runtime may take the URL from either.
  const asked = [headers.get('host') ?? hostOf(url), hostOf(url)]
  const foreign = asked.find((host) => !isAllowed(host, allowed))
  if (foreign !== undefined) return new OnehopError('host-refused', { host: foreign || '(none)' })
  const origin = headers.get('origin')
  const [, page = ''] = /^https?:\/\/(.+)$/.exec(origin ?? '') ?? []
  if (origin !== null && !asked.every((host) => isSameHost(page, host)))
    return new OnehopError('origin-refused', { origin })
  const site = headers.get('sec-fetch-site') ?? 'none'
  if (site !== 'none' && site !== 'same-origin')
    return new OnehopError('origin-refused', { origin: `Sec-Fetch-Site: ${site}` })
  return undefined
}

function isAllowed(host: string, allowed: AllowedHost[]): boolean {
  const asked = parseHost(host)
  return allowed.some(
    ({ name, ports }) => name === asked?.name && (ports === undefined || ports.includes(asked.port)),
  )
}

function isSameHost(one: string, other: string): boolean {
  const [first, second] = [parseHost(one), parseHost(other)]
  return first !== undefined && first.name === second?.name && first.port === second.port
}

/**
 * The two parts of a Host header. It is taken apart strictly and not by `new URL`, which reads a host into much that is none
 * (`user@host`, `host/path`, 0x7f000001); of an IPv6 address all spellings are one.
 */
function parseHost(text: string): { name: string; port: string } | undefined {
  const [, name, port = ''] = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text.toLowerCase()) ?? []
  if (name === undefined) return undefined
  if (!name.startsWith('[')) return { name, port }
  const address = URL.parse(`http://${name}`)?.hostname
  return address === undefined ? undefined : { name: address, port }
}

const hostOf = (url: string) => URL.parse(url)?.host ?? ''
