import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { world, worlds } from '../../sandbox/cache.ts'
import { isInside, runInside, runInWorld } from '../../sandbox/enter.ts'
import { prepareOrExit } from '../../sandbox/prepare.ts'
import { startSandbox } from '../../sandbox/start.ts'
import { allCases, connectCases, nameOf, sampleCases } from './cases.ts'
import { openResults } from './results.ts'
import type { Row } from './run-case.ts'

// usage: npm run crash -- [--json] [--sample] [--only PATTERN] [--fresh] [--out FILE] [--record]
// The kill sweep: worker, engine and the systems around them killed with SIGKILL at every point of a move and a rollback.
// It goes on where it was cut short, for as long as src is the same. --record writes points.json anew.
const flag = { type: 'boolean', default: false } as const
const { values } = parseArgs({
  options: {
    json: flag,
    sample: flag,
    fresh: flag,
    record: flag,
    only: { type: 'string' },
    out: { type: 'string' },
  },
})
const say = (line: string) => process.stderr.write(`${line}\n`)
const pattern = new RegExp(values.only ?? '')
const cases = (values.sample ? sampleCases() : [...allCases(), ...connectCases()]).filter((each) =>
  pattern.test(nameOf(each)),
)
const results = openResults(values.out)
if (values.fresh && !isInside()) results.forget(cases)
const missing = () => cases.filter((each) => !results.of(each))
/** The exit code that asks for another world. */
const another = 75

async function outside(): Promise<number> {
  await prepareOrExit({ ask: false })
  const self = fileURLToPath(import.meta.url)
  const args = process.argv.slice(2)
  if (values.record) return runInside(self, args)
  const codes = await Promise.all(
    worlds.map(async (ending) => {
      for (let tries = 0; tries < 20; tries++) {
        const code = await runInWorld(ending, self, args)
        if (code !== another) return code
      }
      return another
    }),
  )
  return codes.find((code) => code !== 0) ?? report()
}

/** Every other case: the worlds that live side by side take turns. */
const share = () => {
  const mine = new Set(cases.filter((_, index) => worlds[index % worlds.length] === world))
  return missing().filter((each) => mine.has(each))
}

async function inside(): Promise<number> {
  if (!values.record && share().length === 0) return 0
  await using sandbox = await startSandbox({
    services: ['qdrant', 'inngest'],
    inngestArgs: ['--retry-interval=1', '--tick=50'],
    onPart: ({ name, k, n, seconds }) => say(`[${k}/${n}] ${name} (${seconds.toFixed(1)} s)`),
  })
  const { startWorker } = await import('../../sandbox/worker.ts')
  await startWorker(sandbox)
  if (values.record) {
    // Loaded only now: it takes hold of the world that runs.
    const { recordAll } = await import('./record-points.ts')
    writeFileSync(
      fileURLToPath(new URL('./points.json', import.meta.url)),
      `${JSON.stringify(await recordAll(), null, 2)}\n`,
    )
    return 0
  }
  const { sweepCases } = await import('./sweep-cases.ts')
  const done = await sweepCases(share(), (row) => {
    results.add(row)
    say(
      `[${cases.length - missing().length}/${cases.length}] ${nameOf(row)}: ${row.end}, ${row.seconds} s ${row.why ?? ''}`,
    )
  })
  return done ? 0 : another
}

function report(): number {
  const rows = cases.flatMap((each) => results.of(each) ?? [])
  const ended = (end: Row['end']) => rows.filter((row) => row.end === end).length
  const seconds = Math.round(rows.reduce((sum, row) => sum + row.seconds, 0))
  const totals = {
    points: rows.length,
    moved: ended('moved'),
    restored: ended('restored'),
    broken: ended('broken'),
    seconds,
  }
  if (values.json) console.log(JSON.stringify(totals))
  else
    console.log(
      `${tableOf(rows)}\n${Object.entries(totals)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ')}`,
    )
  return totals.broken > 0 || rows.length < cases.length ? 1 : 0
}

function tableOf(rows: Row[]): string {
  const table = new Table({ head: ['story', 'killed', 'when', 'point', 'pid', 'gone', 'landed', 'end', 's'] })
  for (const { story, victim, link, when, point, pid, gone, landed, end, why, seconds } of rows)
    table.push([
      ...[story, link === 'connect' ? `${victim} (connect)` : victim, when, point],
      ...[pid ?? '', gone ?? '', landed ?? '', why ? `${end}: ${why}` : end, seconds],
    ])
  return table.toString()
}

process.exitCode = isInside() ? await inside() : await outside()
