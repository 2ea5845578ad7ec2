import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** How a server is silent once it has accepted: to a TLS client the first three are a handshake that never ends. */
export const silences = {
  /** Nothing at all. */
  mute: () => {},
  /** Headers, and a body that never ends. */
  headers: (socket) => answer(socket),
  /** A body of which a byte comes now and then: never silent for long, and never done. */
  drip: (socket) => {
    answer(socket)
    const timer = setInterval(() => socket.write(' '), 300)
    socket.on('close', () => clearInterval(timer))
  },
  /** A body without an end, as fast as it is read. */
  flood: (socket) => {
    answer(socket)
    const more = () => {
      while (socket.writable && socket.write(' '.repeat(65_536)));
    }
    socket.on('drain', more)
    more()
  },
} satisfies Record<string, (socket: Socket) => void>

export type Silence = keyof typeof silences

function answer(socket: Socket): void {
  socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000000\r\n\r\n{')
}

/** A server on loopback that accepts and then is silent in that way. */
export async function startSilence(how: Silence = 'mute') {
  const sockets = new Set<Socket>()
  let asked: number | undefined
  const server = createServer((socket) => {
    asked ??= Date.now()
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.once('data', () => silences[how](socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    /** When somebody first connected. */
    get asked() {
      return asked
    },
    /** How many clients are connected now. */
    get clients() {
      return sockets.size
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/**
 * A folder for PATH with a tailscale and a caddy that answer, and with programs in their place that never end: a shell that waits
 * for another process, deaf to every signal that can be heard.
 */
export function writePrograms(folder: string, hanging: string[]): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  const programs = {
    tailscale: "echo '{}'",
    caddy: "case $1 in version) echo v2.11.0;; *) echo '{}';; esac",
    ...Object.fromEntries(hanging.map((each) => [each, "trap '' TERM INT HUP\nsleep 600\nexit 0"])),
  }
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  return bin
}

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** The real command line as a process of its own, with when it was started, when its last byte on stdout came, and when it had ended. */
export function runOnehop(args: string[], { env = {}, cwd }: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  })
  const said = { stdout: '', stderr: '', started: Date.now(), answered: 0 }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].on('data', (data: Buffer) => {
      said[stream] += data
      if (stream === 'stdout') said.answered = Date.now()
    })
  const ended = once(child, 'close').then(() => ({
    ...said,
    code: child.exitCode,
    signal: child.signalCode,
    ended: Date.now(),
  }))
  // One that should have ended, and has not, must not outlive its test.
  return { child, said, ended, [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

/** What may take so many milliseconds by the requirement may take longer on a machine with more to do than it has cores for. */
export const onThisMachine = (milliseconds: number): number =>
  milliseconds * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism())
