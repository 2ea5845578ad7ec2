import { type LookupAddress, type LookupOptions, lookup, promises } from 'node:dns'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { NoAnswer } from '../in-time.ts'

/**
 * How long a resolver may be silent. A question that is left to the system cannot be given up: it occupies a thread, and the
 * process does not end before the system gives up, 10 s and more later.
 */
const patience = 3000

/** For how long after an answer it is taken to answer still: each probe would ask twice. */
const trusted = 5000
let heard = Number.NEGATIVE_INFINITY

/**
 * The look-up for a connection (`lookup` of node:net): the system's, which also knows the hosts file, but only once a resolver
 * is known to answer. `localhost` needs no resolver, and so does not wait behind a name that nobody answers.
 */
export function lookUp(host: string, options: LookupOptions, done: Done): void {
  find(host, options).then(
    (found) => {
      const [first] = found
      if (options.all) return done(null, found)
      if (first) return done(null, first.address, first.family)
      done(new Error(`${host} has no address`), '')
    },
    (thrown: NodeJS.ErrnoException) => done(thrown, ''),
  )
}

/** IPv4 addresses of a name as this machine's programs see it. @throws Error, also where the resolver is silent */
export const addressesOf = async (name: string): Promise<string[]> =>
  (await find(name, { family: 4 })).map(({ address }) => address)

/**
 * Whether the system's resolver answers anything about a host, if only that there is none. This question can be given up,
 * unlike the system's own look-up. `servers` are others than the system's.
 */
export async function resolverAnswers(
  host: string,
  { milliseconds, servers }: { milliseconds: number; servers?: string[] },
): Promise<boolean> {
  if (isIP(host.replace(/^\[|\]$/g, '')) !== 0 || isLocalhost(host)) return true
  return askResolver(host, { milliseconds, ...(servers && { servers }) }).then(
    () => true,
    (thrown: NodeJS.ErrnoException) => thrown.code !== 'ETIMEOUT' && thrown.code !== 'ECANCELLED',
  )
}

/** IPv4 addresses of a name by a resolver alone, without the hosts file. @throws Error with the resolver's code */
export async function askResolver(
  host: string,
  { milliseconds, servers }: { milliseconds: number; servers?: string[] },
): Promise<string[]> {
  // Its own timeout is for each server that the system names: the second of two may be the one that answers.
  const resolver = new promises.Resolver({ timeout: milliseconds / 2, tries: 2 })
  if (servers) resolver.setServers(servers)
  const timer = setTimeout(() => resolver.cancel(), milliseconds)
  return resolver.resolve4(host).finally(() => clearTimeout(timer))
}

type Done = (error: NodeJS.ErrnoException | null, found: string | LookupAddress[], family?: number) => void

async function find(host: string, { family, hints, order }: LookupOptions): Promise<LookupAddress[]> {
  const wanted = (each: LookupAddress) => !family || each.family === Number(String(family).replace('IPv', ''))
  if (isLocalhost(host)) return loopback.filter(wanted)
  if (Date.now() - heard > trusted && (await resolverAnswers(host, { milliseconds: patience })))
    heard = Date.now()
  if (Date.now() - heard <= trusted)
    return new Promise((resolve, reject) =>
      lookup(host, { family, hints, order, all: true }, (error, found) =>
        error ? reject(error) : resolve(found),
      ),
    )
  const known = (await fromHosts(host)).filter(wanted)
  if (known.length > 0) return known
  throw new NoAnswer(patience, `the resolver of this machine does not answer (asked for ${host})`)
}

const isLocalhost = (host: string) => host === 'localhost' || host.endsWith('.localhost')

const loopback: LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

async function fromHosts(host: string): Promise<LookupAddress[]> {
  const text = await readFile('/etc/hosts', 'utf8').catch(() => '')
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    const isMeant = names.some((each) => each.toLowerCase() === host.toLowerCase())
    return isMeant && isIP(address) ? [{ address, family: isIP(address) }] : []
  })
}
