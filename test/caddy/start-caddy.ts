import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import pRetry from 'p-retry'
import pWaitFor from 'p-wait-for'
import { createCaddy } from '../../src/systems/caddy.ts'

/** The Caddy that the tests run. */
export const caddyBinary =
  process.env.ONEHOP_TEST_CADDY ??
  join(
    process.env.ONEHOP_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'onehop'),
    'bin/caddy',
  )

/**
 * A real Caddy with its own folder and ports, and our client for it. `write` gets free ports and gives the Caddyfile's
 * text after the global options; `prepare` may lay out the folder first and name another Caddyfile for our client, and
 * another name, folder and environment for Caddy itself.
 */
export const startCaddy = (write: Write, prepare: Prepare = plainFile) =>
  // Another program may take a free port before Caddy does.
  pRetry(() => startOnce(write, prepare), {
    retries: 3,
    minTimeout: 0,
    shouldRetry: ({ error }) => error.message.includes('address already in use'),
  })

type Write = (ports: number[]) => string
type Prepare = (folder: string, text: string) => Promise<string | Prepared>
export type Prepared = { file: string; config?: string; cwd?: string; env?: Record<string, string> }

const plainFile: Prepare = async (folder, text) => {
  const file = join(folder, 'Caddyfile')
  await writeFile(file, text, { mode: 0o640 })
  return file
}

async function startOnce(write: Write, prepare: Prepare) {
  const folder = await mkdtemp(join(tmpdir(), 'onehop-caddy-'))
  const [adminPort = 0, ...ports] = await freePorts(5)
  const admin = `http://localhost:${adminPort}`
  const prepared = await prepare(
    folder,
    `{\n\tadmin localhost:${adminPort}\n\tauto_https off\n}\n${write(ports)}`,
  )
  const {
    file,
    config = file,
    cwd = process.cwd(),
    env,
  } = typeof prepared === 'string' ? { file: prepared } : prepared
  const caddy = createCaddy({ file, admin, bin: caddyBinary })
  const home = { PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder }
  const environment = { ...home, PWD: cwd, ...env }
  const child = spawn(caddyBinary, ['run', '--config', config, '--adapter', 'caddyfile'], {
    ...{ cwd, env: environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (data) => {
    log += data
  })
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const up = () => {
    if (child.exitCode !== null) throw new Error(`caddy ended: ${log}`)
    return caddy.running().then(
      (config) => config !== null,
      () => false,
    )
  }
  await pWaitFor(up, { interval: 50, timeout: 20_000 })
  return {
    caddy,
    file,
    folder,
    admin,
    ports,
    stop,
    text: () => readFile(file, 'utf8'),
    /** What `caddy reload` would load, made by the binary alone: under the name and with the environment that Caddy has. */
    async wouldReload(): Promise<unknown> {
      const args = ['adapt', '--config', config, '--adapter', 'caddyfile']
      const { stdout } = await execa(caddyBinary, args, { cwd, env: environment, extendEnv: false })
      return JSON.parse(stdout)
    },
    log: () => log,
    signal: (name: NodeJS.Signals) => child.kill(name),
    /** How often Caddy has taken a config over its admin API, from its own log. */
    loads: () => log.split('"msg":"load complete"').length - 1,
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(folder, { recursive: true })
    },
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0)
      await once(server, 'listening')
      return server
    }),
  )
  return servers.map((server) => {
    const address = server.address()
    server.close()
    return typeof address === 'object' && address ? address.port : 0
  })
}
