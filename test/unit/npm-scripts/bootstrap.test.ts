import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
let checkout: string
let programs: string

/** A fresh checkout, with an npm that is a script, and scripts that say their arguments. */
beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), 'onehop-bootstrap-'))
  programs = join(checkout, 'programs')
  for (const file of ['bootstrap.mjs', 'package-lock.json', 'toolchain/package.json']) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true })
    cpSync(join(root, file), join(checkout, file))
  }
  for (const file of ['sandbox/demo.ts', 'simulated/demo.ts', 'test/run.ts', 'src/cli/main.ts']) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true })
    writeFileSync(join(checkout, file), `console.log(JSON.stringify(process.argv.slice(2)))\n`)
  }
  mkdirSync(programs)
  npmIs('echo "npm $@" >&2; mkdir -p node_modules; echo what npm says on stdout')
})
afterEach(() => rmSync(checkout, { recursive: true, force: true }))

function npmIs(script: string) {
  writeFileSync(join(programs, 'npm'), `#!/bin/sh\n${script}\n`)
  chmodSync(join(programs, 'npm'), 0o755)
}

const start = (args: string[], env: Record<string, string | undefined> = {}) =>
  execa(process.execPath, ['bootstrap.mjs', ...args], {
    cwd: checkout,
    reject: false,
    env: { CI: undefined, PATH: `${programs}:/usr/bin:/bin`, ...env },
  })

describe('before it installs, it says what comes', () => {
  const root = process.platform === 'linux' && process.getuid?.() === 0
  test.for<[string[], Record<string, string>, boolean]>([
    [['simulated/demo.ts'], {}, false],
    [['simulated/demo.ts', '--json'], { CI: 'true' }, false],
    [['src/cli/main.ts', 'plan'], {}, false],
    [['test/run.ts', 'unit'], { CI: 'true' }, false],
    [['test/run.ts'], {}, false],
    [['test/run.ts'], { CI: 'false' }, false],
    [['test/run.ts'], { CI: 'true' }, root],
    [['test/run.ts', 'real'], {}, true],
    [['sandbox/demo.ts', '--yes'], {}, true],
    [['sandbox/demo.ts', '--clean'], {}, false],
  ])('%j with %j names the real servers: %s', async ([args, env, servers]) => {
    const { stdout, stderr, exitCode } = await start(args, env)
    expect({ stdout, exitCode }).toEqual({ stdout: JSON.stringify(args.slice(1)), exitCode: 0 })
    expect(stderr).toMatch(/^First the npm packages/)
    expect(/servers|root|18 GB/.test(stderr)).toBe(servers)
  })
})

test('it installs once, and again when the lock file has changed', async () => {
  expect((await start(['test/run.ts'])).stderr).toContain('npm install')
  expect((await start(['test/run.ts'])).stderr).toBe('')
  writeFileSync(join(checkout, 'package-lock.json'), '{}')
  expect((await start(['test/run.ts'])).stderr).toContain('npm install')
})

test('what NODE_ENV or npm itself leaves out is installed all the same', async () => {
  const { stderr } = await start(['test/run.ts'], { NODE_ENV: 'production', npm_config_omit: 'dev' })
  expect(stderr).toContain('--include=dev --include=optional')
})

test('an install that fails is told in one line, and counts as none', async () => {
  npmIs('mkdir -p node_modules; exit 1')
  const { stdout, stderr, exitCode } = await start(['src/cli/main.ts', '--json'])
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
  expect(stderr).toContain(`write to ${checkout}`)
  expect(existsSync(join(checkout, 'node_modules/.installed-lock'))).toBe(false)
})

test('a machine without npm is told so', async () => {
  const { stderr, exitCode } = await start(['src/cli/main.ts'], { PATH: '/nowhere' })
  expect(exitCode).toBe(1)
  expect(stderr).toContain('npm cannot be started')
})
