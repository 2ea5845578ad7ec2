import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { counted, kubeconfigText, until } from '../../sandbox/cluster.ts'
import { startSandbox, type World } from '../../sandbox/start.ts'
import type { Envelope } from '../../sandbox/worker.ts'
import {
  caddyfileOf,
  many,
  movedEntryOf,
  namespace,
  objectsOf,
  policyOf,
  servicesOf,
} from './many-services.ts'

/**
 * What a command costs with so many services (many-services.ts says what belongs to each): the whole command as it is
 * installed, from the start of its process to the end, against the sandbox's own API server, Caddy and control server.
 *
 * `seconds` is the fastest of five, since whatever else the machine does only adds to it; `calls` are those that the API
 * server has noted; `mb` is the most memory that the process had, in the middle one of the five.
 */
export async function scale({ sizes = [10, 100, 1000] }: { sizes?: number[] } = {}): Promise<ScaleResult> {
  await execa('tsc', ['-p', 'tsconfig.build.json'], { cwd: root, preferLocal: true })
  await using world = await startSandbox({
    services: [],
    onPart: ({ name, k, n, seconds }) => console.error(`[${k}/${n}] ${name} (${seconds.toFixed(1)} s)`),
  })
  await world.kubectl(['create', 'namespace', namespace])
  await world.kubectl(['create', 'namespace', 'tailscale'])
  await until('the namespace to take pods', async () =>
    (await world.kubectl(['-n', 'tailscale', 'get', 'serviceaccounts'])).includes('default'),
  )
  // Else they would be busy for minutes with what nobody here asks for: controller revisions, firewall rules.
  for (const server of ['kube-controller-manager', 'kube-proxy']) await world.server(server).stop()
  const result: ScaleResult = {}
  let there = 0
  for (const size of sizes) {
    const started = performance.now()
    await furnish(world, { from: there, to: size })
    console.error(`${size} services are there (${((performance.now() - started) / 1000).toFixed(1)} s)`)
    there = size
    writeJournal(world, many(0, size))
    for (const [name, isWhole] of Object.entries(commands)) {
      const rounds: Cost[] = []
      while (rounds.length < 5) rounds.push(await measure(world, { name, isWhole, size }))
      const of = (what: keyof Cost, rank: number) =>
        rounds.map((each) => each[what]).toSorted((a, b) => a - b)[rank] ?? Number.NaN
      const cost = { seconds: of('seconds', 0), calls: of('calls', 4), mb: of('mb', 2) }
      result[name] = [...(result[name] ?? []), { services: size, ...cost }]
    }
  }
  return result
}

/**
 * A column each: another command is another line, with what its answer must be. One that could not look, or found nothing to
 * do, would be fast.
 */
const commands: Record<string, IsWhole> = {
  plan: ({ services, blocked }, size) => Array.isArray(services) && services.length === size && blocked === 0,
  // All of them have drifted: nobody has carried out what the journal says.
  drift: ({ checked, drifts, failures }, size) =>
    checked === size &&
    Array.isArray(drifts) &&
    drifts.length > 2 * size &&
    Array.isArray(failures) &&
    failures.length === 0,
}
type IsWhole = (result: Record<string, unknown>, size: number) => boolean

export type ScaleResult = Record<string, Row[]>
type Cost = { seconds: number; calls: number; mb: number }
type Row = Cost & { services: number }
type Measured = { name: string; isWhole: IsWhole; size: number }

const root = fileURLToPath(new URL('../../', import.meta.url))
const program = join(root, 'dist/src/cli/main.js')

async function measure(world: World, { name, isWhole, size }: Measured): Promise<Cost> {
  const peak = join(world.folder, 'peak')
  const note = `process.on('exit', () => require('node:fs').writeFileSync('${peak}', String(process.resourceUsage().maxRSS)))`
  const noting = `data:text/javascript,${encodeURIComponent(`import { createRequire } from 'node:module'; const require = createRequire('/'); ${note}`)}`
  const before = callsSoFar(world)
  const started = performance.now()
  const mesh = name === 'drift' ? ['--mesh', join(world.panda.home, 'drifted.yaml')] : []
  const command = ['--import', noting, program, name, ...mesh, '--json']
  const { stdout } = await world.panda.run(process.execPath, command, { reject: false })
  const seconds = (performance.now() - started) / 1000
  const { ok, error, result } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? 'null') as Envelope
  if (!ok || !isWhole(result ?? {}, size))
    throw new Error(`onehop ${name} with ${size} services: ${JSON.stringify(error ?? result).slice(0, 1000)}`)
  return {
    seconds: Number(seconds.toFixed(2)),
    calls: callsSoFar(world) - before,
    mb: Math.round(Number(readFileSync(peak, 'utf8')) / 1024),
  }
}

function callsSoFar(world: World): number {
  const log = world.log('audit')
  if (!existsSync(log)) return 0
  return readFileSync(log, 'utf8').split(`"user":{"username":"${counted}"`).length - 1
}

/** A journal in which they are moved. It is told of by `drift` alone, in a state folder of its own. */
function writeJournal(world: World, all: number[]): void {
  const folder = join(world.panda.home, '.local/state/drifted/services')
  mkdirSync(folder, { recursive: true })
  const mesh = readFileSync(join(world.panda.home, 'mesh.yaml'), 'utf8')
  writeFileSync(join(world.panda.home, 'drifted.yaml'), `${mesh}\nstate: ~/.local/state/drifted\n`)
  for (const entry of all.map(movedEntryOf))
    writeFileSync(join(folder, `${entry.service}.json`), JSON.stringify(entry), { mode: 0o600 })
}

/** Services `from` to `to` more in the cluster; mesh.yaml, policy and Caddyfile for all of them. */
async function furnish(world: World, { from, to }: { from: number; to: number }): Promise<void> {
  const items = many(from, to).flatMap(objectsOf)
  await world.kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
  const all = many(0, to)
  const { home } = world.panda
  writeFileSync(join(world.folder, 'headscale/policy.hujson'), policyOf(all))
  const caddyfile = join(home, '.local/caddy/Caddyfile')
  writeFileSync(caddyfile, caddyfileOf(all))
  await world.panda.run('caddy', ['reload', '--config', caddyfile, '--adapter', 'caddyfile'])
  const kubeconfig = join(home, '.kube/counted')
  writeFileSync(kubeconfig, kubeconfigText({ folder: world.folder, user: counted, name: counted }), {
    mode: 0o600,
  })
  const meshFile = join(home, 'mesh.yaml')
  const [head = ''] = readFileSync(meshFile, 'utf8')
    .replace(/^kubernetes: .*$/m, `kubernetes: { context: ${counted}, kubeconfig: ${kubeconfig} }`)
    .replace(/^(machine: .*\n)?tailnet: /m, 'machine: panda\ntailnet: ')
    .split(/^services:$/m)
  writeFileSync(meshFile, `${head}${servicesOf(all)}`)
}
