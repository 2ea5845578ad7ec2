import { lookup } from 'node:dns/promises'
import { existsSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

// Runs on a client machine of the sandbox: asks all URLs of the command line at the same moment, over and over, each time by
// a new connection, until the file named first exists. Prints how often each was asked, every failure with its time, and
// the moments at which none of them answered. How many were asked so far stands in that file's neighbour, `.count`.
// Plain sockets: Node's own client would cost more than the servers that are asked.
const [stopFile = '', ...urls] = process.argv.slice(2)
const side = 8
const perSecond = 900
type Failure = { at: number; began: number; message: string }
const seen = Object.fromEntries(urls.map((url) => [url, { requests: 0, failures: [] as Failure[] }]))
const dark: Array<{ at: number; began: number }> = []
const targets = urls.map((url) => ({ url, ...targetOf(url) }))
const started = Date.now()
let asked = 0

const counting = setInterval(() => writeFileSync(`${stopFile}.count`, String(asked)), 500)
await Promise.all(Array.from({ length: side }, ask))
clearInterval(counting)
console.log(JSON.stringify({ seen, dark }))

async function ask(): Promise<void> {
  while (!existsSync(stopFile)) {
    // Bounded: a load that grows with the machine's speed would measure the machine.
    while (asked > ((Date.now() - started) / 1000) * perSecond) await pause(5)
    asked += urls.length
    const began = Date.now()
    const messages = await Promise.all(
      targets.map(async (target) => {
        const message = await one(target)
        const of = seen[target.url]
        if (of) of.requests++
        if (of && message) of.failures.push({ at: Date.now(), began, message })
        return message
      }),
    )
    if (messages.every(Boolean)) dark.push({ at: Date.now(), began })
  }
}

type Target = ReturnType<typeof targetOf>

function targetOf(url: string) {
  const { protocol, hostname, port, pathname } = new URL(url)
  const secure = protocol === 'https:'
  return {
    hostname,
    port: Number(port || (secure ? 443 : 80)),
    secure,
    request: `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\n\r\n`,
    session: undefined as Buffer | undefined,
    address: undefined as { value: string; until: number } | undefined,
  }
}

/** What went wrong, if anything did. */
async function one(target: Target): Promise<string | undefined> {
  try {
    const host = await addressOf(target)
    return await new Promise((resolve) => {
      const socket = open(target, host)
      let answer = ''
      socket.setTimeout(5000, () => socket.destroy(new Error('no answer in 5 s')))
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      socket.on('close', () => {
        const status = /^HTTP\/1\.[01] (\d+)/.exec(answer)?.[1]
        resolve(
          status === undefined
            ? 'closed without an answer'
            : Number(status) < 400
              ? undefined
              : `HTTP ${status}`,
        )
      })
      socket.write(target.request)
    })
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? String(thrown)
  }
}

/** A new connection each time; of TLS, the session is taken up again, as browsers do. */
function open(target: Target, host: string): Socket {
  const { port, hostname, secure, session } = target
  if (!secure) return connect({ host, port })
  const socket = connectTls({ host, port, servername: hostname, ...(session && { session }) })
  socket.once('session', (fresh) => {
    target.session = fresh
  })
  return socket
}

/** Asked anew every second: a service that was exposed again has another address. */
async function addressOf(target: Target): Promise<string> {
  if (target.address && target.address.until > Date.now()) return target.address.value
  target.address = undefined
  const { address } = await lookup(target.hostname, { family: 4 })
  target.address = { value: address, until: Date.now() + 1000 }
  return address
}
