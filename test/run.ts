import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import type { World } from '../sandbox/cache.ts'
import { firstStart, isCI, whyUnfit } from '../sandbox/requirements.ts'
import { messageOf } from '../src/errors.ts'
import { countRealFiles, type Decision, decideReal, whatRealAdds } from './real-part.ts'
import { readReport } from './report.ts'

// `npm test`: format, lint, types, unused code, unit, contract and simulation tests: anywhere. Then the tests on real
// servers, where they can run. `npm run test:unit` and `npm run test:real` run one part.
// The last line is `N passed, N failed, N skipped`, and the exit code says the same.
const root = fileURLToPath(new URL('..', import.meta.url))
// About half of the time of the real project: much of it is waiting, so the rest runs beside it, in a world of its own.
const slow = ['drift', 'one-end-state', 'engine-lost', 'stale-clicks', 'cancelled', 'many-rollbacks']
const firstWorld = slow.map((name) => `test/real/${name}.test.ts`)
const results = mkdtempSync(join(tmpdir(), 'onehop-test-'))
const counts = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []
const retried: string[] = []
const skips: string[] = []
const [part] = process.argv.slice(2)
process.chdir(root)

let exitCode = 0
let realRan = false
try {
  if (part === 'unit') await vitest(['unit'])
  else if (part === 'real') await realTests()
  else await everything()
} finally {
  rmSync(results, { recursive: true, force: true })
}
// Once more at the end: what is kept of a long log is often its end alone.
for (const each of retried) console.log(`\nPASSED ONLY ON A RETRY: ${each}`)
for (const failure of failures) console.log(`\nFAILED: ${failure}`)
for (const skip of skips) console.log(`\nSKIPPED: ${skip}`)
if (realRan) console.log(`\n${retried.length} passed only on a retry; none should`)
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 || counts.passed === 0 ? exitCode || 1 : 0

async function everything() {
  for (const [tool = '', ...args] of [['biome', 'ci', '.'], ['tsc', '--noEmit'], ['knip']]) {
    const { failed } = await execa(join(root, 'node_modules/.bin', tool), args, {
      stdio: 'inherit',
      reject: false,
    })
    console.log(`${failed ? 'FAILED' : 'ok'}: ${[tool, ...args].join(' ')}`)
    counts[failed ? 'failed' : 'passed']++
    if (failed) failures.push([tool, ...args].join(' '))
  }
  await vitest(['unit', 'sim'])
  await realTests()
}

/** The tests on real servers, or the reason why not. */
async function realTests() {
  const asked = part === 'real'
  const unfit = whyUnfit()
  // What it loads needs Linux and Node 24.
  const prepare = unfit ? undefined : await import('../sandbox/prepare.ts')
  const decision = decideReal({
    asked,
    ci: isCI(),
    unfit,
    missing: prepare?.missingParts() ?? [],
    lacking: (await prepare?.lackingPrograms()) ?? [],
  })
  if (decision !== 'run' || !prepare) return leftOut(decision)
  try {
    await prepare.whileNoneRuns(() => undefined)
    await prepare.prepareSandbox({ ask: asked })
  } catch (thrown) {
    return leftOut({ refuse: messageOf(thrown) })
  }
  realRan = true
  const { worlds } = await import('../sandbox/cache.ts')
  await vitest(['caddy'])
  await vitest(['machine'])
  await Promise.all([
    vitest(['real'], { world: worlds[0], args: firstWorld }),
    vitest(['real'], { world: worlds[1], args: firstWorld.map((file) => `--exclude=${file}`) }),
  ])
}

function leftOut(decision: Decision) {
  if (decision === 'run') return
  const files = countRealFiles(root)
  const refused = 'refuse' in decision
  const why = refused ? decision.refuse : decision.skip
  counts.skipped += files
  skips.push(`${files} test files on real servers, each counted as one: ${why}.
\`npm run test:real\` runs them: ${whatRealAdds}.
It needs root on Linux. The first time it builds the servers: ${firstStart}.`)
  if (!refused) return
  if (part === 'real') exitCode = 2
  else {
    counts.failed++
    failures.push(`the tests on real servers: ${why}`)
  }
}

function outsideOfTests(project: string, code: number | undefined, why = 'see its output above') {
  counts.failed++
  failures.push(`${project}: vitest ended with ${code}, outside of any test: ${why}`)
}

/** Runs projects, or a part of one in that world, and adds their counts; a run without a report is a failure of its own. */
async function vitest(
  projects: string[],
  { world, args: more = [] }: { world?: World; args?: string[] } = {},
) {
  const names = projects.join(', ')
  const report = join(results, `${projects.join('-')}${world ?? ''}.json`)
  const entry = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    'run',
    ...projects.flatMap((project) => ['--project', project]),
    '--reporter=verbose',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...more,
  ]
  const code =
    world === undefined
      ? (await execa(process.execPath, [entry, ...args], { stdio: 'inherit', reject: false })).exitCode
      : await (await import('../sandbox/enter.ts')).runInWorld(world, entry, args)
  try {
    const found = readReport(readFileSync(report, 'utf8'))
    for (const kind of ['passed', 'failed', 'skipped'] as const) counts[kind] += found[kind]
    failures.push(...found.failures)
    retried.push(...found.retried)
    if (code !== 0 && found.failed === 0) outsideOfTests(names, code)
  } catch (thrown) {
    outsideOfTests(names, code, `no report (${messageOf(thrown)})`)
  }
}
