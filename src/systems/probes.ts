import { lookup, Resolver } from 'node:dns/promises'
import { request } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { messageOf } from '../errors.ts'

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
        lookup(name, { family: 4, all: true }).then((all) => all.map((each) => each.address), messageOf),
      ])
      return { magicDns: magic, system }
    },
    async tcp(target: Target): Promise<Answer> {
      return timed(async () => {
        await converse(target, undefined)
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
        const reply = await converse(target, 'PING\r\nINFO server\r\n')
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

function askMagicDns(name: string): Promise<string[]> {
  const resolver = new Resolver({ timeout, tries: 1 })
  resolver.setServers([magicDns])
  return resolver.resolve4(name)
}

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

/** Connects, says `words` if any, and gives back the first answer. */
function converse({ host, port }: Target, words: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout })
    let heard = ''
    const end = (settle: () => void) => {
      socket.destroy()
      settle()
    }
    socket.on('timeout', () =>
      end(() => (heard ? resolve(heard) : reject(new Error(`no answer in ${timeout} ms`)))),
    )
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('connect', () => (words === undefined ? end(() => resolve('')) : socket.write(words)))
    socket.on('data', (data) => {
      heard += data.toString('latin1')
      if (!/^\+PONG\r\n$/.test(heard)) end(() => resolve(heard))
    })
    socket.on('close', () => (heard ? resolve(heard) : reject(new Error('closed without an answer'))))
  })
}

type Asking = {
  accept?: (status: number) => boolean
  host?: string
  servername?: string
  verify?: boolean
  patience?: number
}

function get({ host, port }: Target, path: string, asking: Asking = {}): Promise<{ identity?: string }> {
  const { accept = (status) => status < 400, servername, verify = false, patience = timeout } = asking
  const options = {
    host,
    port,
    path,
    timeout: patience,
    agent: false,
    // An answer that streams for ever never falls silent: this ends it.
    signal: AbortSignal.timeout(2 * patience),
    ...(asking.host && { headers: { host: asking.host } }),
    ...(servername && { servername, rejectUnauthorized: verify }),
  }
  return new Promise((resolve, reject) => {
    const call = (servername ? httpsRequest : request)(options, (response) => {
      let body = ''
      response.on('data', (data) => {
        if (body.length < 4096) body += data
      })
      response.on('error', reject)
      const status = response.statusCode ?? 500
      response.on('end', () =>
        accept(status) ? resolve({ identity: body.trim() }) : reject(new Error(`HTTP ${status}`)),
      )
    })
    call.on('timeout', () => call.destroy(new Error(`no answer in ${patience} ms`)))
    call.on('error', reject)
    call.end()
  })
}
