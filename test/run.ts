import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { runInside } from '../sandbox/enter.ts'
import { prepareSandbox } from '../sandbox/prepare.ts'

// `npm test`: format, lint, types, unused code, then every test; `npm run test:unit` only those that need no server.
// The last line is `N passed, N failed, N skipped`, and the exit code says the same.
const root = fileURLToPath(new URL('..', import.meta.url))
const results = mkdtempSync(join(tmpdir(), 'onehop-test-'))
const counts = { passed: 0, failed: 0, skipped: 0 }
process.chdir(root)

try {
  if (process.argv[2] === 'unit') await vitest('unit')
  else await everything()
} finally {
  rmSync(results, { recursive: true, force: true })
}
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
  }
  await vitest('unit')
  await prepareSandbox({ ask: false })
  await vitest('caddy')
  await vitest('machine')
  await vitest('real', { inside: true })
}

/** Runs one project and adds its counts; a run that ends without a report is a failure of its own. */
async function vitest(project: string, { inside = false } = {}) {
  const report = join(results, `${project}.json`)
  const entry = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    'run',
    '--project',
    project,
    '--reporter=verbose',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]
  const code = inside
    ? await runInside(entry, args)
    : (await execa(process.execPath, [entry, ...args], { stdio: 'inherit', reject: false })).exitCode
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
      readFileSync(report, 'utf8'),
    )
    counts.passed += numPassedTests
    counts.failed += numFailedTests
    counts.skipped += numPendingTests + numTodoTests
    if (code !== 0 && numFailedTests === 0) counts.failed++
  } catch {
    counts.failed++
  }
}
