import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { version } from '../../../src/version.ts'

const main = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
const onehop = (...args: string[]) =>
  spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], { encoding: 'utf8' })

test.for(['', 'operator', 'caddy', 'policy'])('onehop %s alone prints its help', (name) => {
  const { status, stderr, stdout } = onehop(...name.split(' ').filter(Boolean))
  expect(stderr).toContain(`Usage: onehop ${name}`.trim())
  expect(stderr).not.toContain('outputHelp')
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
})

test('it tells its version', () => {
  expect(onehop('--version')).toMatchObject({ status: 0, stdout: `${version}\n` })
})

test.for<[words: string[], code: string, fix: string]>([
  [['plann'], 'command-unknown', 'onehop --help'],
  [['operator', 'instal'], 'flag-invalid', 'onehop operator --help'],
  [['policy', 'preview'], 'flag-invalid', 'onehop policy preview --help'],
  [['plan', '--colour'], 'flag-invalid', 'onehop plan --help'],
])('%s: %s, and the help that there is', ([words, code, fix]) => {
  const { status, stdout } = onehop(...words, '--json')
  expect(status).toBe(2)
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code }, fix })
})

test('where there is no mesh.yaml the cure names the scan that makes one', () => {
  expect(onehop('plan', '--mesh', '/no/mesh.yaml').stderr).toContain('onehop scan --out mesh.yaml')
})
