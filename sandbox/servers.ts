import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import pWaitFor from 'p-wait-for'
import { libraryFolders, programFolders } from './cache.ts'

/** What is needed to start a server again, from any process in the sandbox: it is kept as a file. */
export type ServerSpec = {
  name: string
  command: string[]
  /** The network namespace to run in; the router's when left out. */
  host?: string
  env?: Record<string, string>
  /** When it counts as started: a port that accepts (`address:port`, seen from the router), or a file that exists. */
  ready?: { tcp: string } | { file: string }
}

export type Server = {
  /** Starts it if it is not running, and waits until it is ready. */
  start(): Promise<void>
  /** SIGTERM, then waits until it has ended. */
  stop(): Promise<void>
  /** SIGKILL, then waits until it has ended. */
  kill(): Promise<void>
  running(): boolean
  pid(): number | undefined
}

export type Servers = ReturnType<typeof createServers>

/** The servers of the world in `folder`: pid files in servers/, output in logs/. */
export function createServers(folder: string) {
  const specFile = (name: string) => join(folder, 'servers', `${name}.json`)
  const pidFile = (name: string) => join(folder, 'servers', `${name}.pid`)
  const log = (name: string) => join(folder, 'logs', `${name}.log`)
  mkdirSync(join(folder, 'servers'), { recursive: true })
  mkdirSync(join(folder, 'logs'), { recursive: true })

  function server(name: string): Server {
    if (!existsSync(specFile(name))) throw new Error(`no server is called ${name}`)
    const spec: ServerSpec = JSON.parse(readFileSync(specFile(name), 'utf8'))
    const pid = () => (existsSync(pidFile(name)) ? Number(readFileSync(pidFile(name), 'utf8')) : undefined)
    const running = () => isAlive(pid())
    const end = async (signal: NodeJS.Signals) => {
      const id = pid()
      if (id === undefined || !isAlive(id)) return
      process.kill(id, signal)
      await pWaitFor(() => !isAlive(id), {
        interval: 20,
        timeout: { milliseconds: 90_000, message: `${name} does not end` },
      })
    }
    return {
      pid,
      running,
      stop: () => end('SIGTERM'),
      kill: () => end('SIGKILL'),
      async start() {
        if (!running()) {
          if (spec.ready && 'file' in spec.ready) rmSync(spec.ready.file, { force: true }) // of a killed one
          writeFileSync(pidFile(name), String(launch({ ...spec, log: log(name), folder })))
        }
        await pWaitFor(
          async () => {
            if (!running()) throw new Error(`${name} ended at once:\n${lastLines(log(name))}`)
            return isReady(spec)
          },
          {
            interval: 50,
            timeout: { milliseconds: 60_000, message: `${name} is not ready:\n${lastLines(log(name))}` },
          },
        )
      },
    }
  }

  return {
    log,
    server,
    async add(spec: ServerSpec): Promise<Server> {
      writeFileSync(specFile(spec.name), JSON.stringify(spec, null, 2))
      await server(spec.name).start()
      return server(spec.name)
    },
  }
}

/** The command as it must be run for that host. */
export function onHost(host: string | undefined, command: string[]): string[] {
  if (!host) return command
  // `ip netns exec` gives the host its own resolv.conf, but hides the cgroups, so kubelet dies of it.
  if (host === 'node') return ['nsenter', '--net=/run/netns/node', ...command]
  return ['ip', 'netns', 'exec', host, ...command]
}

/** The environment of every program in the sandbox. */
export const sandboxEnv = (): Record<string, string> => ({
  PATH: programFolders().join(':'),
  LD_LIBRARY_PATH: libraryFolders().join(':'),
  TS_NO_LOGS_NO_SUPPORT: 'true',
})

function launch({ command, host, env, log, folder }: ServerSpec & { log: string; folder: string }): number {
  const [program = '', ...args] = onHost(host, command)
  const out = openSync(log, 'a')
  const child = spawn(program, args, {
    cwd: folder,
    detached: true, // a Ctrl-C is for the story, not for its servers
    stdio: ['ignore', out, out],
    env: { HOME: folder, ...sandboxEnv(), ...env },
  })
  closeSync(out)
  child.on('error', () => {}) // no pid, so the check below says it
  child.unref()
  if (child.pid === undefined) throw new Error(`cannot run ${program}`)
  return child.pid
}

/** A zombie without other threads: its first thread may be one while the rest still hold its ports. */
function isAlive(pid: number | undefined): boolean {
  if (pid === undefined || !existsSync(`/proc/${pid}/stat`)) return false
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const zombie = stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
    return !zombie || readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

async function isReady({ ready }: ServerSpec): Promise<boolean> {
  if (!ready) return true
  return 'file' in ready ? existsSync(ready.file) : accepts(ready.tcp)
}

function accepts(address: string): Promise<boolean> {
  const [host = '', port] = address.split(':')
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: 1000 })
    const answer = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
    socket.once('timeout', () => answer(false))
  })
}

const lastLines = (file: string) =>
  existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-8).join('\n') : ''
