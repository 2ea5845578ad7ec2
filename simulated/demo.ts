import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { isDeepStrictEqual, parseArgs, styleText } from 'node:util'
import Table from 'cli-table3'
import { createTwoFilesPatch } from 'diff'
import { checkSync } from 'proper-lockfile'
import { parseDocument } from 'yaml'
import { drift } from '../src/cli/drift.ts'
import { takeOverEnd } from '../src/cli/end.ts'
import { migrate } from '../src/cli/migrate.ts'
import type { Answer } from '../src/cli/output.ts'
import { plan } from '../src/cli/plan.ts'
import { rollback } from '../src/cli/rollback.ts'
import { messageOf } from '../src/errors.ts'
import type { DriftFound } from '../src/plan/drift.ts'
import { type ClusterService, isClusterService } from '../src/plan/mesh.ts'
import { deviceName, pathsOf } from '../src/plan/paths.ts'
import { createSetup } from '../src/setup.ts'
import { adaptCaddyfile } from './adapt-caddyfile.ts'
import { pandaCluster } from './panda.ts'
import { openWorld, writeWorld } from './world.ts'

// `npm run demo [-- --json] [--folder FOLDER] [--clean]`: the whole story of onehop in a simulated world, in less than a
// minute. The world is kept in FOLDER (./.demo); --clean removes it.
const values = flags()
const root = join(import.meta.dirname, '..')
const folder = resolve(values.folder)
const meshFile = join(folder, 'mesh.yaml')
const isBelow = folder.startsWith(process.cwd())
const shown = isBelow ? relative(process.cwd(), folder) || '.' : folder
const caddyfile = join(folder, 'Caddyfile')
// All that a demo and the commands after it leave in the folder.
const made = ['Caddyfile', 'keys', 'mesh.yaml', 'state', 'world.json', 'world.json.lock', 'world.json.new']
// With --json, stdout belongs to the one line at the end.
const output = values.json ? process.stderr : process.stdout
const say = (text: string) => output.write(`${text}\n`)
const heading = (text: string) => say(`\n${styleText('bold', text, { stream: output })}`)
const mark = (ok: boolean) =>
  ok ? styleText('green', 'ok', { stream: output }) : styleText('red', 'x ', { stream: output })

// A reader that is gone (`npm run demo | head`) ends nothing.
takeOverEnd()
if (values.clean) {
  try {
    say(removeFolder() ? `removed ${shown}` : `there is no ${shown}`)
  } catch (thrown) {
    say(messageOf(thrown))
    process.exitCode = 1
  }
} else {
  try {
    process.exitCode = (await story()) ? 0 : 1
  } catch (thrown) {
    say(`The demo stopped: ${messageOf(thrown)}`)
    process.exitCode = 1
  }
  process.exit()
}

/** @returns whether everything in it happened as it should */
async function story(): Promise<boolean> {
  const started = performance.now()
  say(introduction())
  createFolder()
  const setup = createSetup(meshFile)
  const mesh = await setup.mesh()
  const services = mesh.services.filter(isClusterService)
  const world = await openWorld(folder)
  const { systems } = await setup.work()
  const [firstFile, firstPolicy, firstConfig] = [
    readCaddyfile(),
    world.cluster.state.policy.text,
    world.caddy.config(),
  ]
  const firstAnnotations = annotations()

  heading('1. Before: every service answers on its old path')
  const before = await probeOldPaths()

  heading('2. What would change')
  await command('plan qdrant', plan({ mesh: meshFile, services: ['qdrant'] }))
  const planned = await plan({ mesh: meshFile, services: [] })
  const { changes } = planned.result as { changes: number }
  say(`The plan of all six services, without a name, has ${changes} changes.`)

  heading('3. Move all six services; one of them is going to fail')
  say(
    "Caddy will get no answer from qdrant's new name. onehop sees that only after the switch, in the soak: the time\nin which it keeps asking every old and new path.",
  )
  const fault = { kind: 'caddy-cannot-dial', service: 'joelclaw/qdrant' } as const
  world.cluster.state.faults.push(fault)
  await command('migrate --yes', migrate({ mesh: meshFile, yes: true, json: false, services: [] }))
  const afterFault = await states()
  say(
    'qdrant is back on its old path. In the Caddyfile only the lines of the other services differ from the first ones:',
  )
  showDiff(firstFile)

  heading('4. The cause is removed, and qdrant moves too')
  world.cluster.state.faults = []
  await command('migrate --yes qdrant', migrate({ mesh: meshFile, yes: true, services: ['qdrant'] }))
  const afterMove = await states()
  const names = await probeDevices()

  heading("5. Somebody changes a Service behind onehop's back")
  say('$ kubectl -n joelclaw annotate service typesense tailscale.com/hostname=search --overwrite')
  const typesense = world.cluster.state.services.get('joelclaw/typesense')
  if (typesense) world.cluster.merge(typesense, 'kubectl-annotate', { 'tailscale.com/hostname': 'search' })
  const found = await command('drift', drift({ mesh: meshFile }))
  await command('drift --repair --yes', drift({ mesh: meshFile, repair: true, yes: true }))
  const left = await command('drift', drift({ mesh: meshFile }))

  heading('6. Undo everything, the operator included')
  await command(
    'rollback --all --operator',
    rollback({ mesh: meshFile, all: true, operator: true, services: [] }),
  )
  const afterUndo = await states()
  const after = await probeOldPaths()
  const caddyfileRestored = readCaddyfile() === firstFile
  say(`${mark(caddyfileRestored)} the Caddyfile has its first bytes again`)
  const configRestored = isDeepStrictEqual(world.caddy.config(), firstConfig)
  say(`${mark(configRestored)} Caddy runs the configuration it ran at first`)
  const policyRestored = world.cluster.state.policy.text === firstPolicy
  say(`${mark(policyRestored)} the tailnet's policy has its first bytes again`)

  const now = annotations()
  const result = services.map(({ name, service }) => ({
    service: name,
    state: afterUndo[name] ?? 'unknown',
    restored:
      afterUndo[name] === 'restored' &&
      after[name] === true &&
      isDeepStrictEqual(now[service], firstAnnotations[service]),
  }))
  const detected = (found.result as DriftFound).drifts.length
  const repaired = detected - (left.result as DriftFound).drifts.length
  const ok =
    [...Object.values(before), ...Object.values(after), ...Object.values(names)].every(Boolean) &&
    !planned.failure &&
    services.every(({ name }) => afterFault[name] === (name === 'qdrant' ? 'restored' : 'moved')) &&
    services.every(({ name }) => afterMove[name] === 'moved') &&
    detected > 0 &&
    repaired === detected &&
    result.every((each) => each.restored) &&
    caddyfileRestored &&
    configRestored &&
    policyRestored
  showResult(result, { afterFault, afterMove, ok, seconds: (performance.now() - started) / 1000 })
  await world.close()
  if (values.json) {
    const error = ok
      ? null
      : { code: 'demo-failed', message: 'a part of the story did not happen; see above' }
    process.stdout.write(
      `${JSON.stringify({
        ok,
        command: 'demo',
        result: {
          services: result,
          drift: { found: detected, repaired },
          caddyfile_restored: caddyfileRestored,
          simulated: true,
        },
        error,
        fix: null,
        next_actions: tryNext(),
      })}\n`,
    )
  }
  return ok

  async function command(words: string, answering: Promise<Answer>): Promise<Answer> {
    say(`$ onehop ${words}`)
    const answer = await answering
    if (answer.text) say(answer.text)
    if (answer.failure) say(`${answer.failure.message}  [${answer.failure.code}]`)
    return answer
  }

  async function states(): Promise<Record<string, string>> {
    const entries = await (await setup.journal()).list()
    return Object.fromEntries(entries.map(({ service, state }) => [service, state]))
  }

  async function probeOldPaths(): Promise<Record<string, boolean>> {
    const answers: Record<string, boolean> = {}
    for (const service of services) {
      const asked = await Promise.all(pathsOf(mesh, service).flatMap((path) => oldPathsOf(service, path)))
      for (const { path, ok } of asked) say(`  ${mark(ok)} ${service.name.padEnd(10)} ${path}`)
      answers[service.name] = asked.every(({ ok }) => ok)
    }
    return answers
  }

  function oldPathsOf(
    service: ClusterService,
    { portMap = '', oldUrl }: { portMap?: string; oldUrl?: string },
  ) {
    const [host = '', port] = portMap.split(':')
    const ask = async (path: string, answer: Promise<{ ok: boolean }>) => ({ path, ok: (await answer).ok })
    return [
      ask(`panda, ${portMap}`, systems.probes.tcp({ host, port: Number(port) })),
      ...(oldUrl === undefined ? [] : [ask(oldUrl, systems.probes.throughCaddy(oldUrl, pageOf(service)))]),
    ]
  }

  async function probeDevices(): Promise<Record<string, boolean>> {
    const answers: Record<string, boolean> = {}
    for (const service of services)
      for (const { port } of service.ports) {
        const host = deviceName(mesh, service)
        const { ok } = await systems.probes.tcp({ host, port })
        say(`  ${mark(ok)} ${service.name.padEnd(10)} ${host}:${port}`)
        answers[service.name] = ok && answers[service.name] !== false
      }
    return answers
  }

  function annotations() {
    return Object.fromEntries(
      [...world.cluster.state.services].map(([key, object]) => [key, structuredClone(object.annotations)]),
    )
  }
}

function pageOf({ probe }: ClusterService): string {
  return typeof probe === 'object' ? probe.http : '/'
}

function showDiff(first: string): void {
  const patch = createTwoFilesPatch('Caddyfile', 'Caddyfile', first, readCaddyfile(), '', '', { context: 0 })
  for (const line of patch.split('\n').filter((each) => /^[-+]\s/.test(each))) {
    const colour = line.startsWith('+') ? 'green' : 'red'
    say(`  ${styleText(colour, line, { stream: output })}`)
  }
}

function showResult(
  result: Array<{ service: string; state: string; restored: boolean }>,
  { afterFault, afterMove, ok, seconds }: ShownResult,
): void {
  const table = new Table({
    head: ['service', 'with the fault', 'without it', 'after the undo'],
    style: { head: [], border: [], compact: true },
  })
  for (const { service, restored } of result)
    table.push([
      service,
      afterFault[service] ?? '',
      afterMove[service] ?? '',
      restored ? 'as at first' : 'NOT as at first',
    ])
  heading(ok ? `Done in ${seconds.toFixed(0)} s` : 'A part of the story did not happen as it should')
  say(table.toString())
  say(`
The simulated world stays in ${shown}, with everything undone. To use it yourself:

${tryNext()
  .map((each) => `  ${each}`)
  .join('\n')}

The same story on the real servers (Kubernetes, the Tailscale operator, Headscale, Caddy, Inngest), in namespaces
of one Linux machine, as root, with 18 GB of disk and 20 minutes for the first build:

  npm run demo:real

It is worth it because it proves what a simulation cannot: that the real operator, the real WireGuard path and the
real Inngest server behave as described.`)
}
type ShownResult = {
  afterFault: Record<string, string>
  afterMove: Record<string, string>
  ok: boolean
  seconds: number
}

/** What is simulated here and what is not: the first thing that a reader sees. */
function introduction(): string {
  const first = `onehop demo: a simulation. It reads and writes nothing but ${shown}, and needs no network.`
  return `${styleText('bold', first, { stream: output })}
  simulated: Kubernetes, the Tailscale operator, the tailnet and its policy API, Helm, Caddy's process, every
             client's answer, and the Inngest server
  real:      onehop itself: its workflows and steps, its journal, its edits of a real Caddyfile, its commands`
}

function tryNext(): string[] {
  return [
    `export ONEHOP_MESH=${join(shown, 'mesh.yaml')}`,
    'npm run -s onehop -- status',
    'npm run -s onehop -- plan',
    'npm run -s onehop -- migrate',
    'npm run -s onehop -- journal redis',
    'npm run -s onehop -- rollback --all',
    'npm run demo -- --clean',
  ]
}

function readCaddyfile(): string {
  return readFileSync(caddyfile, 'utf8')
}

/** The flags; with wrong ones the usage, instead of a stack trace. */
function flags() {
  try {
    const flag = { type: 'boolean', default: false } as const
    const folder = { type: 'string', default: '.demo' } as const
    const { values } = parseArgs({
      options: { json: flag, clean: flag, folder, help: { ...flag, short: 'h' } },
    })
    if (!values.help) return values
    process.stdout.write(`${usage()}\n`)
    process.exit(0)
  } catch (thrown) {
    process.stderr.write(`${messageOf(thrown)}\n${usage()}\n`)
    process.exit(2)
  }
}

function usage(): string {
  return `usage: npm run demo [-- --json] [-- --folder FOLDER] [-- --clean]
  --json           end with one line of JSON on stdout
  --folder FOLDER  keep the simulated world there, instead of in .demo
  --clean          remove that world, and do nothing else`
}

/**
 * Removes an earlier world, and nothing but a world. @returns whether there was one
 *
 * @throws Error for a folder with anything else in it, and for a world that a command is using
 */
function removeFolder(): boolean {
  if (!existsSync(folder)) return false
  const world = join(folder, 'world.json')
  const foreign = readdirSync(folder).filter((name) => !made.includes(name) && !/^\.?Caddyfile\./.test(name))
  if (foreign.length > 0)
    throw new Error(
      `${folder} holds ${foreign.slice(0, 3).join(', ')}, which no demo made: it is left as it is. Name another folder.`,
    )
  if (existsSync(world) && checkSync(world, { stale: 10_000, realpath: false }))
    throw new Error(
      `another onehop command is using the simulated world ${folder}: wait until it has ended (one that was killed counts for ten seconds)`,
    )
  rmSync(folder, { recursive: true })
  return true
}

/** Lays out the example's files and its world, as they are before a first move. */
function createFolder(): void {
  const example = (name: string) => join(root, 'examples/panda', name)
  removeFolder()
  mkdirSync(join(folder, 'keys'), { recursive: true, mode: 0o700 })
  copyFileSync(example('Caddyfile'), caddyfile)
  const snapshot = JSON.parse(readFileSync(example('snapshot.json'), 'utf8'))
  const mesh = parseDocument(readFileSync(example('mesh.yaml'), 'utf8'))
  mesh.set('simulated', '.')
  mesh.set('state', './state')
  mesh.setIn(['caddy', 'file'], './Caddyfile')
  // The Funnel of the example leads to the engine on purpose.
  mesh.setIn(['drift', 'known'], ['engine-open http://localhost:8443'])
  mesh.setIn(['engine', 'patience'], 10)
  // A person is watching: each wait is as short as the story needs.
  mesh.set('soak', mesh.createNode({ seconds: 3, every: 0.5 }))
  mesh.set('deadlines', mesh.createNode({ device: 20, proof: 10, undo: 20 }))
  for (const path of [
    ['tailscale', 'credentials', 'clientIdFile'],
    ['tailscale', 'credentials', 'clientSecretFile'],
    ['operator', 'credentials', 'clientIdFile'],
    ['operator', 'credentials', 'clientSecretFile'],
    ['engine', 'eventKeyFile'],
    ['engine', 'signingKeyFile'],
  ]) {
    const file = `./keys/${path.join('-')}`
    mesh.setIn(path, file)
    writeFileSync(join(folder, file), 'simulated\n', { mode: 0o600 })
  }
  writeFileSync(meshFile, String(mesh))
  writeWorld(folder, {
    tailnet: String(mesh.get('tailnet')),
    cluster: pandaCluster(snapshot),
    caddy: adaptCaddyfile(readCaddyfile()),
  })
}
