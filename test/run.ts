import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { type World, worlds } from '../sandbox/cache.ts'
import { runInWorld } from '../sandbox/enter.ts'
import { prepareSandbox } from '../sandbox/prepare.ts'
import { messageOf } from '../src/errors.ts'

// `npm test`: format, lint, types, unused code, then every test; `npm run test:unit` only those that need no server.
// The last line is `N passed, N failed, N skipped`, and the exit code says the same.
const root = fileURLToPath(new URL('..', import.meta.url))
// About half of the time of the real project: much of it is waiting, so the rest runs beside it, in a world of its own.
const slow = ['drift', 'one-end-state', 'engine-lost', 'stale-clicks', 'cancelled', 'many-rollbacks']
const firstWorld = slow.map((name) => `test/real/${name}.test.ts`)
const results = mkdtempSync(join(tmpdir(), 'onehop-test-'))
const counts = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []
process.chdir(root)

try {
  if (process.argv[2] === 'unit') await vitest('unit')
  else await everything()
} finally {
  rmSync(results, { recursive: true, force: true })
}
// Once more at the end: what is kept of a long log is often its end alone.
for (const failure of failures) console.log(`\nFAILED: ${failure}`)
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0

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
  await vitest('unit')
  await vitest('sim')
  await prepareSandbox({ ask: false })
  await vitest('caddy')
  await vitest('machine')
  await Promise.all([
    vitest('real', { world: worlds[0], args: firstWorld }),
    vitest('real', { world: worlds[1], args: firstWorld.map((file) => `--exclude=${file}`) }),
  ])
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: {
    name: string
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
  }[]
}

// A declaration, not a constant: the module's own body calls it before its end is reached.
function failuresOf({ name, message, assertionResults }: Report['testResults'][number]) {
  return [
    ...(message ? [`${name}: ${message}`] : []),
    ...assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => `${name} > ${fullName}\n${failureMessages.join('\n')}`),
  ]
}

function outsideOfTests(project: string, code: number | undefined, why = 'see its output above') {
  counts.failed++
  failures.push(`${project}: vitest ended with ${code}, outside of any test: ${why}`)
}

/** Runs one project, or a part of it in that world, and adds its counts; a run without a report is a failure of its own. */
async function vitest(project: string, { world, args: more = [] }: { world?: World; args?: string[] } = {}) {
  const report = join(results, `${project}${world ?? ''}.json`)
  const entry = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    'run',
    '--project',
    project,
    '--reporter=verbose',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...more,
  ]
  const code =
    world === undefined
      ? (await execa(process.execPath, [entry, ...args], { stdio: 'inherit', reject: false })).exitCode
      : await runInWorld(world, entry, args)
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
      readFileSync(report, 'utf8'),
    ) as Report
    counts.passed += numPassedTests
    counts.failed += numFailedTests
    counts.skipped += numPendingTests + numTodoTests
    failures.push(...testResults.flatMap(failuresOf))
    if (code !== 0 && numFailedTests === 0) outsideOfTests(project, code)
  } catch (thrown) {
    outsideOfTests(project, code, `no report (${messageOf(thrown)})`)
  }
}
