import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './cluster.ts'
import type { World } from './start.ts'

export const onehopProgram = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  fileURLToPath(new URL('../src/cli/main.ts', import.meta.url)),
]

/** Starts `onehop worker` on panda, as the server `worker`, and waits until the engine has it. */
export async function startWorker(world: World) {
  await world.panda.spawn('worker', [...onehopProgram, 'worker'], {
    env: { ONEHOP_MESH: join(world.panda.home, 'mesh.yaml') },
  })
  await until('the worker', async () => {
    const query = JSON.stringify({ query: '{ apps { name connected } }' })
    const { stdout } = await world.panda.run('curl', [
      ...['-sf', '-H', 'content-type: application/json', '-d', query, 'http://localhost:8288/v0/gql'],
    ])
    return /"name":"onehop","connected":true/.test(stdout)
  })
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
