import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './cluster.ts'
import type { World } from './start.ts'
import { tailnetName } from './tailnet.ts'

export const onehopProgram = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  fileURLToPath(new URL('../src/cli/main.ts', import.meta.url)),
]

/**
 * Starts `onehop worker` on panda, as the server `worker`, and waits until the engine has it. Node's own arguments are
 * for a test that looks into the process.
 */
export async function startWorker(world: World, { nodeArgs = [], env = {} }: WorkerOptions = {}) {
  const [node = '', ...program] = onehopProgram
  await world.panda.spawn('worker', [node, ...nodeArgs, ...program, 'worker'], {
    env: { ONEHOP_MESH: join(world.panda.home, 'mesh.yaml'), ...env },
  })
  await connected(world, 'onehop')
}

/**
 * Starts `onehop probe --as clanker-001` on clanker-001, as the server `prober`, and waits until the engine has it. It has
 * panda's mesh.yaml and the engine's keys, and reaches the engine by panda's port map.
 */
export async function startProber(world: World) {
  const { panda, clanker } = world
  const keys = ['inngest-event-key', 'inngest-signing-key'].map((name) => `.config/onehop/${name}`)
  mkdirSync(join(clanker.home, '.config/onehop'), { recursive: true })
  for (const file of ['mesh.yaml', ...keys]) cpSync(join(panda.home, file), join(clanker.home, file))
  const engine = `http://panda.${tailnetName}:8288`
  await clanker.spawn('prober', [
    ...[...onehopProgram, 'probe', '--as', clanker.name],
    ...['--mesh', join(clanker.home, 'mesh.yaml'), '--engine', engine],
  ])
  await connected(world, `onehop-probe-${clanker.name}`)
}

/** Runs `onehop ARGS --json` on panda, where mesh.yaml is in the home folder. */
export async function onehop(
  world: World,
  args: string[],
): Promise<{ exitCode: number; envelope: Envelope; stdout: string; stderr: string }> {
  const [node = '', ...program] = onehopProgram
  const {
    stdout,
    stderr,
    exitCode = 1,
  } = await world.panda.run(node, [...program, ...args, '--json'], { reject: false })
  return {
    exitCode,
    stdout,
    stderr,
    envelope: JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? 'null') as Envelope,
  }
}

const connected = (world: World, app: string) =>
  until(`${app} to be connected`, async () => {
    const query = JSON.stringify({ query: '{ apps { name connected } }' })
    const { stdout } = await world.panda.run('curl', [
      ...['-sf', '-H', 'content-type: application/json', '-d', query, 'http://localhost:8288/v0/gql'],
    ])
    return stdout.includes(`"name":"${app}","connected":true`)
  })

export type WorkerOptions = { nodeArgs?: string[]; env?: Record<string, string> }
type ServiceState = {
  name: string
  state: string
  oldMs?: number
  newMs?: number
  failure?: { code: string; message: string }
}
export type Envelope = {
  ok: boolean
  result: { request?: string; state?: string; services?: ServiceState[] } | null
  error: { code: string; message: string } | null
  fix: string | null
}
