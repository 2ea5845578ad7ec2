import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readReport } from '../../report.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
let folder: string
// In the checkout, because its tests need vitest.
beforeAll(() => {
  folder = mkdtempSync(join(root, 'node_modules', '.onehop-report-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

test('a test that passed only on a retry is named with its first failure, and so is every failure', async () => {
  const program = `
import { expect, test } from 'vitest'
let tries = 0
test('passes at once', () => undefined)
test('passes on a retry', { retry: 1 }, () => expect(++tries).toBe(2))
test('fails', { retry: 1 }, () => expect('always').toBe('never'))
test.skip('is skipped', () => undefined)
`
  writeFileSync(join(folder, 'some.test.mjs'), program)
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    "export default { test: { include: ['**/*.test.mjs'], exclude: [] } }",
  )
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [vitest, 'run', '--root', folder, '--reporter=json', '--outputFile.json=report.json']
  const { exitCode } = await execa(process.execPath, args, { reject: false, env: { VITEST: undefined } })
  expect(exitCode).toBe(1)
  const report = readReport(readFileSync(join(folder, 'report.json'), 'utf8'))
  expect(report).toMatchObject({ passed: 2, failed: 1, skipped: 1 })
  expect(report.retried).toEqual([
    expect.stringMatching(/some\.test\.mjs > passes on a retry\n.*expected 1 to be 2/),
  ])
  expect(report.failures).toEqual([
    expect.stringMatching(/some\.test\.mjs > fails\n.*expected 'always' to be 'never'/),
  ])
})
