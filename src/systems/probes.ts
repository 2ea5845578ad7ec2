import { messageOf } from '../errors.ts'
import { inTime } from '../in-time.ts'
import { converse } from './converse.ts'
import { callHttp } from './http-call.ts'
import { addressesOf, askResolver } from './resolver.ts'

/** Tailscale's own resolver, on every tailnet machine. */
export const magicDns = '100.100.100.100'

/** What a client sees, from this machine. A probe never throws: a failure is an answer. */
export function createProbes() {
  return {
    /** IPv4 addresses of a name by MagicDNS alone, none where it knows no such name; an error's text where it does not answer. */
    async magicDns(name: string): Promise<string[] | string> {
      return askMagicDns(name).catch((thrown: NodeJS.ErrnoException) =>
        ['ENOTFOUND', 'ENODATA'].includes(thrown.code ?? '') ? [] : messageOf(thrown),
      )
    },
    /** IPv4 addresses of a name, by MagicDNS and by the system's resolver; an error's text where there is none. */
    async resolve(name: string): Promise<{ magicDns: string[] | string; system: string[] | string }> {
      const [magic, system] = await Promise.all([
        askMagicDns(name).catch(messageOf),
        inTime(lookUpDeadline, () => addressesOf(name)).catch(messageOf),
      ])
      return { magicDns: magic, system }
    },
    async tcp(target: Target): Promise<Answer> {
      return timed(async () => {
        await converse(target, { deadline: timeout })
        return {}
      })
    },
    /** GET; below 400 is an answer. */
    async http(target: Target, path: string): Promise<Answer> {
      return timed(() => get(target, path))
    },
    /** GET with TLS on 443, whose certificate must be good. `patience` in ms: the first answer waits for a certificate to be made. */
    async https(host: string, path: string, patience = timeout): Promise<Answer> {
      return timed(() => get({ host, port: 443 }, path, { servername: host, verify: true, patience }))
    },
    /**
     * GET of a Caddy site on this machine. Caddy dials an upstream only when asked, so a reload that went well says
     * nothing of it: any answer but its own 502, 503 or 504 shows that the upstream answered. The certificate is not ours to judge.
     */
    async throughCaddy(site: string, path: string): Promise<Answer> {
      const [, scheme, name = '', port] = /^(?:(https?):\/\/)?([^:/]*)(?::(\d+))?/.exec(site) ?? []
      const secure = scheme !== 'http' && port !== '80'
      const host = name || 'localhost'
      const target = { host: '127.0.0.1', port: Number(port ?? (secure ? 443 : 80)) }
      const accept = (status: number) => ![502, 503, 504].includes(status)
      return timed(() =>
        get(target, path, {
          accept,
          host: port ? `${host}:${port}` : host,
          ...(secure && { servername: host }),
        }),
      )
    },
    /** PING, and the run_id of INFO, which a Redis takes anew at each start. A Redis that asks for a password speaks Redis. */
    async redis(target: Target): Promise<Answer> {
      return timed(async () => {
        const reply = await converse(target, { words: 'PING\r\nINFO server\r\n', deadline: timeout })
        if (!/^(\+PONG|-NOAUTH|-NOPERM)/.test(reply))
          throw new Error(`answered ${JSON.stringify(reply.slice(0, 40))}`)
        const identity = /run_id:(\w+)/.exec(reply)?.[1]
        return identity ? { identity } : {}
      })
    },
  }
}

export type Probes = ReturnType<typeof createProbes>
export type Target = { host: string; port: number }
export type Answer =
  | { ok: true; ms: number; identity?: string }
  | { ok: false; ms: number; message: string; refused: boolean }

const timeout = 2000

/** What the system's look-up may take: some resolvers ask another only after 5 s. */
const lookUpDeadline = 8000

const askMagicDns = (name: string) => askResolver(name, { milliseconds: timeout, servers: [magicDns] })

/** A reload of Caddy resets some new connections (listener swap): one reset is tried again, and only one. */
async function timed(probe: () => Promise<{ identity?: string }>): Promise<Answer> {
  const start = performance.now()
  const ms = () => Math.round(performance.now() - start)
  const retryReset = (thrown: NodeJS.ErrnoException) =>
    thrown.code === 'ECONNRESET' ? probe() : Promise.reject(thrown)
  return probe()
    .catch(retryReset)
    .then(
      (found) => ({ ok: true as const, ms: ms(), ...found }),
      (thrown: NodeJS.ErrnoException) => ({
        ok: false as const,
        ms: ms(),
        message: messageOf(thrown),
        refused: thrown.code === 'ECONNREFUSED',
      }),
    )
}

type Asking = {
  accept?: (status: number) => boolean
  host?: string
  servername?: string
  verify?: boolean
  patience?: number
}

async function get(
  { host, port }: Target,
  path: string,
  asking: Asking = {},
): Promise<{ identity?: string }> {
  const { accept = (status) => status < 400, servername, verify = false, patience = timeout } = asking
  const { status, text } = await callHttp(`http${servername ? 's' : ''}://${host}:${port}${path}`, {
    silence: patience,
    // An answer that streams for ever never falls silent: this ends it.
    deadline: 2 * patience,
    most: 4096,
    ...(asking.host && { headers: { host: asking.host } }),
    ...(servername && { tls: { servername, rejectUnauthorized: verify } }),
  })
  if (!accept(status)) throw new Error(`HTTP ${status}`)
  return { identity: text.trim() }
}
