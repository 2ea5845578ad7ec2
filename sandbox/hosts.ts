import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { findProgram, programFolders } from './cache.ts'
import { onHost, type Server, type Servers, sandboxEnv } from './servers.ts'

export type Host = {
  name: string
  lanAddress: string
  /** Its user's home folder. */
  home: string
  /** The environment of every program there. */
  env: Record<string, string>
  /** Runs a program there and waits for it; rejects as execa does when it fails. */
  run(command: string, args?: string[], options?: RunOptions): Promise<RunResult>
  /** Starts a long-running program there, kept as the server `name`, with its output in logs/`name`.log. */
  spawn(
    name: string,
    command: string[],
    options?: { env?: Record<string, string>; ready?: { tcp: string } },
  ): Promise<Server>
}

export type RunOptions = {
  input?: string
  env?: Record<string, string>
  cwd?: string
  timeout?: number
  /** `false`: a failure is a result and not an error. */
  reject?: boolean
  /** `inherit`: a person watches. */
  stdio?: 'pipe' | 'inherit'
  /** `false`: the output to the byte. */
  stripFinalNewline?: boolean
}

export type RunResult = {
  stdout: string
  stderr: string
  exitCode: number | undefined
  failed: boolean
  signal?: string
}

/** The functions of a host whose folder and namespace are there already. */
export function createHost({ folder, servers, name, lanAddress }: HostPlace & { lanAddress: string }): Host {
  const home = join(folder, name)
  const env = {
    ...sandboxEnv(),
    HOME: home,
    PATH: [join(home, 'bin'), ...programFolders()].join(':'),
    NODE_EXTRA_CA_CERTS: join(folder, 'certs', 'ca.crt'),
    SSL_CERT_FILE: join(folder, 'certs', 'ca.crt'),
  }
  return {
    name,
    lanAddress,
    home,
    env,
    async run(command, args = [], options = {}) {
      const [program = '', ...rest] = onHost(name, [command, ...args])
      const result = await execa(program, rest, {
        cwd: home,
        ...options,
        extendEnv: false,
        env: { ...env, ...terminal(), ...options.env },
      })
      const { exitCode, failed, signal } = result
      const [stdout, stderr] = [result.stdout, result.stderr].map((text) => String(text ?? ''))
      return { stdout: stdout ?? '', stderr: stderr ?? '', exitCode, failed, ...(signal ? { signal } : {}) }
    },
    spawn: (server, command, options = {}) =>
      servers.add({ ...options, name: server, command, host: name, env: { ...env, ...options.env } }),
  }
}

type HostPlace = { folder: string; servers: Servers; name: string }

/** Puts a program of our own on a host's PATH. */
export function addProgram(host: Host, name: string, script: string) {
  const file = join(host.home, 'bin', name)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, script)
  chmodSync(file, 0o755)
}

/** `tailscale` of a host talks to that host's tailscaled. */
export const tailscaleWrapper = (socket: string) =>
  `#!/bin/sh\nexec ${findProgram('tailscale')} --socket=${socket} "$@"\n`

/** What a person's terminal says about itself goes along, the rest of the machine's environment does not. */
const terminal = () =>
  Object.fromEntries(
    ['TERM', 'COLORTERM', 'NO_COLOR', 'FORCE_COLOR', 'COLUMNS', 'LANG', 'CI'].flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
