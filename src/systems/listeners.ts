import { networkInterfaces } from 'node:os'
import { messageOf, OnehopError } from '../errors.ts'
import { type Ran, runProgram } from './run-program.ts'

/**
 * Who is connected to local ports of this machine: `lsof` on macOS, `ss` elsewhere. Both see the processes of other
 * users only as root; such a user is reported without its process.
 */
export function createSockets() {
  return {
    /**
     * One entry per client process and connection, at this moment: what opened and closed between two looks is not seen.
     * A client of this machine is named by its own process, not by the server's; a client elsewhere by its address.
     *
     * @throws OnehopError sockets-unreadable
     */
    async connections(ports: number[]): Promise<Connection[]> {
      const sockets = process.platform === 'darwin' ? parseLsof(await lsof()) : parseSs(await ss())
      return clientsOf(sockets, { ports, local: addresses() })
    },
    addresses,
  }
}

/** Those of this machine, with loopback. */
const addresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address))

/**
 * The TCP ports that processes of this machine listen on, with the process where we may see it: one entry for each port. On
 * macOS those of other users are missing altogether.
 *
 * @throws OnehopError sockets-unreadable
 */
export async function readListeners(): Promise<Listener[]> {
  const found =
    process.platform === 'darwin'
      ? parseLsofListeners(await lsof('-sTCP:LISTEN'))
      : parseSsListeners(await ss('-Htlnp'))
  // Named ones last, so that they win.
  const byName = found.toSorted((a, b) => Number(a.process !== null) - Number(b.process !== null))
  return [...new Map(byName.map((each) => [each.port, each])).values()]
}

export type Listener = { port: number; process: string | null }

/** `peer` is the client's address:port. `process` and `pid` are null for another machine's, and for one that we may not see. */
export type Connection = { port: number; process: string | null; pid: number | null; peer: string }

/** One end of a TCP connection, as this machine's kernel tells it; both ends stand there when both are here. */
export type Socket = { process: string | null; pid: number | null; from: string; to: string }

/** The clients among sockets: `local` are the addresses of this machine besides loopback. */
export function clientsOf(
  sockets: Socket[],
  { ports, local = [] }: { ports: number[]; local?: string[] },
): Connection[] {
  const here = (host: string) =>
    /^(127\.|\[?::1\]?$)/.test(host) || local.includes(host.replace(/^\[|\]$/g, ''))
  const wanted = ({ host, port }: { host: string; port: number }) => ports.includes(port) && here(host)
  const clients = sockets.filter(({ to }) => wanted(endpoint(to)))
  // The server's end alone: the client is on another machine, or its process is hidden from us.
  const known = new Set(clients.map(({ from }) => from))
  const hidden = sockets.filter(({ from, to }) => wanted(endpoint(from)) && !known.has(to))
  const found = [
    ...clients.map(({ process, pid, from, to }) => ({ port: endpoint(to).port, process, pid, peer: from })),
    ...hidden.map(({ from, to }) => ({ port: endpoint(from).port, process: null, pid: null, peer: to })),
  ]
  return [...new Map(found.map((each) => [`${each.port} ${each.peer} ${each.pid ?? ''}`, each])).values()]
}

/** The output of `lsof +c0 -nP -iTCP -FpcnT`: one field a line, of a process (p, c) and then of each of its files (n, T). */
export function parseLsof(output: string): Socket[] {
  const sockets: Array<Socket & { state: string }> = []
  let owner = { process: '', pid: 0 }
  for (const line of output.split('\n')) {
    const value = line.slice(1)
    if (line.startsWith('p')) owner = { process: '', pid: Number(value) }
    else if (line.startsWith('c')) owner = { ...owner, process: unescaped(value) }
    else if (line.startsWith('n')) {
      const [from = '', to] = value.split('->')
      if (to) sockets.push({ ...owner, from: address(from), to: address(to), state: '' })
    } else if (line.startsWith('TST=')) {
      const last = sockets.at(-1)
      if (last?.state === '') last.state = value.slice('ST='.length)
    }
  }
  return sockets
    .filter(({ state }) => !['CLOSED', 'TIME_WAIT'].includes(state))
    .map(({ state: _, ...socket }) => socket)
}

/** The output of `ss -Htnp`: no listeners and none in TIME-WAIT; several processes may hold one socket. */
export function parseSs(output: string): Socket[] {
  return output.split('\n').flatMap((line): Socket[] => {
    const [, from, to, users = ''] = /^\S+\s+\d+\s+\d+\s+(\S+)\s+(\S+)\s*(.*)$/.exec(line) ?? []
    if (!from || !to || to.endsWith(':*')) return []
    const ends = { from: address(from), to: address(to) }
    const holders = [...users.matchAll(/\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=\d+\)/g)].map(
      ([, process = '', pid]) => ({ process, pid: Number(pid), ...ends }),
    )
    return holders.length > 0 ? holders : [{ process: null, pid: null, ...ends }]
  })
}

/** The listeners of the same output: a name without a peer. */
export function parseLsofListeners(output: string): Listener[] {
  let owner = ''
  return output.split('\n').flatMap((line): Listener[] => {
    if (line.startsWith('p')) owner = ''
    if (line.startsWith('c')) owner = unescaped(line.slice(1))
    const [, port] = /^n(?!.*->).*:(\d+)$/.exec(line) ?? []
    return port === undefined ? [] : [{ port: Number(port), process: owner || null }]
  })
}

/** The output of `ss -Htlnp`. */
export function parseSsListeners(output: string): Listener[] {
  return output.split('\n').flatMap((line): Listener[] => {
    const [, port, users = ''] = /^LISTEN\s+\d+\s+\d+\s+\S*:(\d+)\s+\S+\s*(.*)$/.exec(line) ?? []
    const [, name] = /\("((?:[^"\\]|\\.)*)",pid=/.exec(users) ?? []
    return port === undefined ? [] : [{ port: Number(port), process: name ?? null }]
  })
}

/** lsof ends with 1 when there is no such socket, and writes nothing to stderr then. */
async function lsof(...more: string[]): Promise<string> {
  const ran = await run('lsof', ['+c0', '-nP', '-iTCP', ...more, '-FpcnT'])
  const { failed, exitCode, stdout, stderr } = ran
  if (failed && stdout === '' && (stderr !== '' || exitCode !== 1)) throw unreadable('lsof', ran)
  return stdout
}

async function ss(flags = '-Htnp'): Promise<string> {
  const ran = await run('ss', [flags])
  if (ran.failed) throw unreadable('ss', ran)
  return ran.stdout
}

const run = (program: string, args: string[]) =>
  runProgram(program, args).catch((thrown: unknown) => {
    throw unreadable(program, { stderr: '', message: messageOf(thrown) }, thrown)
  })

const unreadable = (program: string, { stderr, message }: Pick<Ran, 'stderr' | 'message'>, cause?: unknown) =>
  new OnehopError('sockets-unreadable', { program, message: (stderr || message).slice(0, 300) }, { cause })

/** An IPv4 address that an IPv6 socket speaks to is that IPv4 address; the interface after % is of no interest. */
const address = (written: string) =>
  written.replace(/%[^\]:]+/, '').replace(/^\[::ffff:(\d+\.\d+\.\d+\.\d+)\]/i, '$1')

function endpoint(written: string): { host: string; port: number } {
  const at = written.lastIndexOf(':')
  return { host: written.slice(0, at), port: Number(written.slice(at + 1)) }
}

/** lsof writes blanks and non-ASCII bytes of a name as \xNN. */
const unescaped = (name: string) =>
  name.includes('\\x')
    ? Buffer.from(
        name.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      ).toString('utf8')
    : name
