import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
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
  const server = createServer((socket) => {
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

/** Programs that never end, in a folder for PATH: a shell that waits for another process, deaf to SIGTERM. */
export function writeHangingPrograms(folder: string, names: string[]): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  for (const name of names) {
    const file = join(bin, name)
    writeFileSync(file, "#!/bin/sh\ntrap '' TERM INT HUP\nsleep 600\nexit 0\n")
    chmodSync(file, 0o755)
  }
  return bin
}

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** The real command line as a process of its own, with when it said what. */
export function runOnehop(args: string[], { env = {}, cwd }: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
  const started = Date.now()
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  })
  const said = { stdout: '', stderr: '', answered: 0, first: 0 }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].on('data', (data: Buffer) => {
      said[stream] += data
      said.first ||= Date.now() - started
      if (stream === 'stdout') said.answered = Date.now() - started
    })
  const ended = once(child, 'close').then(() => ({
    ...said,
    code: child.exitCode,
    signal: child.signalCode,
    /** Milliseconds until its last byte on stdout, and until it had ended. */
    ended: Date.now() - started,
  }))
  return { child, said, ended }
}
