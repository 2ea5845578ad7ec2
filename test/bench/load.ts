import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startSandbox, type World } from '../../sandbox/start.ts'
import { onehop, startWorker } from '../../sandbox/worker.ts'
import type { Entry } from '../../src/journal-records.ts'
import { advertised } from '../../src/plan/paths.ts'

/**
 * A load on every path of a service while it is moved, soaked, retired and taken back: how many requests failed on a path
 * while it was advertised, and whether there was a moment at which no path answered. What a reload of Caddy itself loses
 * is measured beside it, in the same run. It ends with the round in which `requests` were asked, or `minutes` are over.
 *
 * `advertised` counts failures while `onehop status` advertises the path, `outside` the others. `reloads` are counted from
 * Caddy's own log, and set beside one for each switch, retirement and rollback.
 */
export async function load({ requests: wanted, minutes }: Asked): Promise<LoadResult> {
  await using world = await startSandbox()
  await startWorker(world)
  const { home } = world.panda
  const meshFile = join(home, 'mesh.yaml')
  writeFileSync(meshFile, `${readFileSync(meshFile, 'utf8')}\nretire: { hold: 1, every: 1 }\n`)
  await must(world, ['operator', 'install'])

  const started = performance.now()
  const reloadsBefore = reloadsOf(world)
  const watching = watchAdvertised(home)
  const loading = begin(world, Object.values(urls))
  let rounds = 0
  // From where it begins, through every change, to where it began: as often as the number of requests asks for.
  while (loading.asked() < wanted && (performance.now() - started) / 60_000 < minutes) {
    await must(world, ['expose', 'qdrant'])
    await must(world, ['retire', 'qdrant', '--force', '--yes'])
    await must(world, ['rollback', 'qdrant'])
    rounds++
  }
  const { seen, dark } = await loading.stop()
  const windows = await watching.stop()
  const reloads = reloadsOf(world) - reloadsBefore

  const beside = begin(world, [urls.portMap, urls.oldUrl])
  for (let count = 0; count < reloads; count++) {
    const caddyfile = join(home, '.local/caddy/Caddyfile')
    await world.panda.run('caddy', ['reload', '--force', '--config', caddyfile, '--adapter', 'caddyfile'])
    await pause(500)
  }
  const lost = (await beside.stop()).seen[urls.oldUrl]?.failures.length ?? 0

  const failures = Object.entries(urls).map(([path, url]) => {
    const { requests = 0, failures: all = [] } = seen[url] ?? {}
    const while_ = all.filter((each) => advertisedAt(windows, path as Path, each))
    return {
      path,
      requests,
      advertised: while_.length,
      outside: all.length - while_.length,
      examples: while_.slice(0, 3),
    }
  })
  return {
    requests: failures.reduce((sum, each) => sum + each.requests, 0),
    rounds,
    paths: failures,
    noPathAnswered: dark.length,
    reloads: {
      ours: reloads,
      expected: rounds * reloadsPerRound,
      lostByUs: failures.find((each) => each.path === 'oldUrl')?.advertised ?? 0,
      lostByAsManyBare: lost,
    },
    seconds: Math.round((performance.now() - started) / 1000),
  }
}

const urls = {
  portMap: 'http://localhost:6333/instance',
  oldUrl: 'https://panda.tail7af24.ts.net:6443/instance',
  device: 'http://qdrant.tail7af24.ts.net:6333/instance',
}
type Path = keyof typeof urls
/** One to switch, one to retire, one for all of the way back. */
const reloadsPerRound = 3
type Seen = Record<
  string,
  { requests: number; failures: Array<{ at: number; began: number; message: string }> }
>
type Asked = { requests: number; minutes: number }
export type LoadResult = {
  requests: number
  rounds: number
  paths: Array<{ path: string; requests: number; advertised: number; outside: number; examples: unknown[] }>
  noPathAnswered: number
  reloads: { ours: number; expected: number; lostByUs: number; lostByAsManyBare: number }
  seconds: number
}

async function must(world: World, args: string[]) {
  const { envelope } = await onehop(world, args)
  if (!envelope.ok) throw new Error(`onehop ${args.join(' ')}: ${JSON.stringify(envelope.error)}`)
}

/** How often Caddy was given a config. */
const reloadsOf = (world: World) =>
  readFileSync(world.log('caddy'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"uri":"/load"')).length

/** Starts asking on panda; `stop` ends it and gives what was seen. */
function begin(world: World, targets: string[]) {
  const stopFile = join(world.panda.home, 'stop-load')
  const countFile = `${stopFile}.count`
  for (const file of [stopFile, countFile]) rmSync(file, { force: true })
  const script = fileURLToPath(new URL('../../sandbox/load-urls.ts', import.meta.url))
  const running = world.panda.run(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    script,
    stopFile,
    ...targets,
  ])
  return {
    asked: () => (existsSync(countFile) ? Number(readFileSync(countFile, 'utf8')) : 0),
    async stop() {
      writeFileSync(stopFile, '')
      return JSON.parse((await running).stdout) as { seen: Seen; dark: unknown[] }
    },
  }
}

type Look = { at: number; paths: Path[] }

/** What `onehop status` advertises by the journal, looked at every few milliseconds. */
function watchAdvertised(home: string) {
  const file = join(home, '.local/state/onehop/services/qdrant.json')
  const looks: Look[] = []
  let going = true
  const running = (async () => {
    while (going) {
      const by = advertised(existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Entry) : undefined)
      looks.push({ at: Date.now(), paths: (Object.keys(by) as Path[]).filter((path) => by[path]) })
      await pause(10)
    }
  })()
  return {
    async stop() {
      going = false
      await running
      return looks
    },
  }
}

/** Whether a path was advertised all the time from when a request began until it failed. */
function advertisedAt(looks: Look[], path: Path, { at, began }: { at: number; began: number }): boolean {
  const during = looks.filter((each) => each.at >= began - 15 && each.at <= at + 15)
  return during.length > 0 && during.every((each) => each.paths.includes(path))
}
