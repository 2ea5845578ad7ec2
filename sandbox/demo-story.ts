import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs, styleText } from 'node:util'
import Table from 'cli-table3'
import { isClusterService, type Mesh, parseMesh } from '../src/plan/mesh.ts'
import { deviceName, pathsOf } from '../src/plan/paths.ts'
import { until } from './cluster.ts'
import { outerPid } from './enter.ts'
import { writeEntrance } from './entrance.ts'
import { proveFrom, type Seen } from './prove-from.ts'
import { startSandbox, type World } from './start.ts'
import { untilStopped } from './stop.ts'
import { type Envelope, onehop, startWorker } from './worker.ts'

// The demo's story, inside the sandbox: old paths proven, everything moved, new paths proven, and two refusals on the way.
const flag = { type: 'boolean', default: false } as const
const { values } = parseArgs({ options: { once: flag, json: flag } })
const say = (line: string) => process.stderr.write(`${line}\n`)
const head = (text: string) => say(`\n${styleText('bold', text)}`)

head('The real servers, in namespaces of this machine')
await using world = await startSandbox({
  onPart: ({ name, k, n, seconds }) => say(`  [${k}/${n}] ${name}: ${seconds.toFixed(1)} s`),
})
await startWorker(world)
const mesh = parseMesh(
  readFileSync(join(world.panda.home, 'mesh.yaml'), 'utf8'),
  join(world.panda.home, 'mesh.yaml'),
)
const services = urlsOf(mesh)

head('Before: clanker-001 asks every old path')
const old = await ask(services.map((each) => each.old))

head('onehop migrate, through the Inngest server that is itself one of the services')
const started = performance.now()
const migrated = await onehop(world, ['migrate', '--yes'])
for (const each of migrated.envelope.result?.services ?? [])
  say(`  ${each.name}: ${each.state}${each.failure ? ` (${each.failure.message})` : ''}`)
say(`  ${((performance.now() - started) / 1000).toFixed(1)} s, of it ${mesh.soak.seconds} s of soak per wave`)

head('After: clanker-001 asks by name, over WireGuard, every service that it may reach; panda the others')
const open = services.filter((each) => each.fromClanker)
const closed = services.filter((each) => !each.fromClanker)
const fresh = [
  ...(await ask(open.map((each) => each.fresh))),
  ...(await ask(
    closed.map((each) => each.fresh),
    world.panda,
  )),
]
const denied = await proveFrom(
  world.clanker,
  closed.map((each) => each.fresh),
)
for (const { url, ok } of denied)
  say(
    `  ${ok ? styleText('red', 'x  open to') : styleText('green', 'ok closed to')} clanker-001: ${url} (panda alone may)`,
  )

head('A stale device holds the name typesense')
await onehop(world, ['rollback', 'typesense'])
await renameClanker(world, 'typesense')
const refused = outcome('refused before anything is changed', await onehop(world, ['expose', 'typesense']))
await renameClanker(world, 'clanker-001')

head('The name is taken after the preflight')
const exposing = onehop(world, ['expose', 'typesense'])
await until('the attempt', async () => Boolean((await annotationsOf(world)).includes('tailscale.com/expose')))
await renameClanker(world, 'typesense')
const restored = outcome('rolled back by itself', await exposing)
await renameClanker(world, 'clanker-001')

head('The name is free again')
const moved = outcome('moved', await onehop(world, ['expose', 'typesense']))

const status = (await onehop(world, ['status'])).envelope.result?.services ?? []
const result = services.map(({ name, old: oldUrl, fresh: newUrl }) => ({
  name,
  state: status.find((each) => each.name === name)?.state ?? 'unknown',
  oldPath: oldUrl,
  newPath: newUrl,
  oldMs: old.find((each) => each.url === oldUrl)?.ms,
  newMs: fresh.find((each) => each.url === newUrl)?.ms,
}))
const ok =
  [...old, ...fresh].every((each) => each.ok) &&
  denied.every((each) => !each.ok) &&
  result.every((each) => each.state === 'moved') &&
  refused === 'name-taken' &&
  restored === 'name-not-given' &&
  moved === null
showTable()
if (!values.once) showNext()
if (values.json)
  console.log(
    JSON.stringify({
      ok,
      command: 'demo:real',
      result: { services: result, refused, restored },
      error: ok ? null : { code: 'demo-failed', message: 'see above' },
      fix: null,
      next_actions: [],
    }),
  )
process.exitCode = ok ? 0 : 1
if (!values.once) {
  say(`\nThe world stays up. Ctrl-C here, or \`kill ${outerPid()}\`, ends it and leaves nothing behind.`)
  await untilStopped()
}
// Open sockets to servers that are about to end must not keep the story alive.
process.exit()

function urlsOf(mesh: Mesh): Array<{ name: string; old: string; fresh: string; fromClanker: boolean }> {
  return mesh.services.filter(isClusterService).map((service) => {
    const [path] = pathsOf(mesh, service)
    const page = typeof service.probe === 'object' ? service.probe.http : ''
    const scheme = service.probe === 'redis' ? 'redis' : 'http'
    const portMap = `${scheme}://panda.${mesh.tailnet}:${path?.portMap?.split(':')[1]}`
    return {
      name: service.name,
      old: `${path?.oldUrl ?? portMap}${page}`,
      fresh: `${scheme}://${deviceName(mesh, service)}:${path?.port}${page}`,
      fromClanker: service.allow.includes('clanker-001'),
    }
  })
}

async function ask(urls: string[], from = world.clanker): Promise<Seen[]> {
  const seen = await proveFrom(from, urls)
  for (const { url, ok, ms, message } of seen)
    say(`  ${ok ? styleText('green', 'ok') : styleText('red', 'x ')} ${url}  ${ok ? `${ms} ms` : message}`)
  return seen
}

/** Says how a request ended, and gives back its error code. */
function outcome(expected: string, { envelope }: { envelope: Envelope }): string | null {
  const [service] = envelope.result?.services ?? []
  say(`  ${service?.name}: ${service?.state} (${expected})`)
  if (envelope.error) say(`  ${envelope.error.message}  [${envelope.error.code}]\n  fix: ${envelope.fix}`)
  return envelope.error?.code ?? null
}

async function renameClanker({ headscale }: World, name: string) {
  const nodes = (await headscale(['nodes', 'list'])) as Array<{
    id: number | string
    name: string
    given_name?: string
  }>
  const clanker = nodes.find((each) => each.name === 'clanker-001')
  await headscale(['nodes', 'rename', '-i', String(clanker?.id), name])
}

function annotationsOf({ kubectl }: World) {
  return kubectl(['-n', 'joelclaw', 'get', 'service', 'typesense', '-o', 'jsonpath={.metadata.annotations}'])
}

function showTable() {
  const table = new Table({
    head: ['service', 'old path', 'new path', 'ms old', 'ms new', 'state'],
    style: { head: [], border: [], compact: true },
  })
  for (const { name, oldPath, newPath, oldMs, newMs, state } of result)
    table.push([name, oldPath, newPath, oldMs ?? '', newMs ?? '', state])
  say(`\n${table}`)
}

function showNext() {
  const script = writeEntrance(world, world.panda)
  say(`
To try next, from another shell as root:
  ${script} onehop status
  ${script} onehop rollback redis
  ${script} onehop plan
  ${script} onehop expose redis`)
  const record = join(
    world.panda.home,
    `.local/state/onehop/requests/${migrated.envelope.result?.request}.json`,
  )
  // A migration that was refused has none.
  if (!existsSync(record)) return
  const { run } = JSON.parse(readFileSync(record, 'utf8')) as { run: string }
  const rerun = JSON.stringify({ query: `mutation { rerun(runID: "${run}") }` })
  say(`and a rerun of the migration by the engine's API, which changes nothing:
  ${script} curl -sf localhost:8288/v0/gql -H 'content-type: application/json' -d '${rerun}'`)
}
