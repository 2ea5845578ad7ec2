import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../../src/cli/output.ts'
import type { CheckedGroup } from '../../../src/plan/checks.ts'

const program = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-check-'))
  // Nothing of all this is there.
  const mesh = `
kubernetes: { context: none, kubeconfig: no-kubeconfig }
tailnet: a.ts.net
tailscale: { api: "http://127.0.0.1:1", cli: no-such-tailscale, credentials: { clientIdFile: id, clientSecretFile: secret } }
operator: { version: 1.102.4, credentials: { clientIdFile: oid, clientSecretFile: osecret } }
caddy: { file: Caddyfile, admin: "http://127.0.0.1:1", bin: no-such-caddy }
engine: { url: "http://127.0.0.1:1" }
worker: { listen: "127.0.0.1:1" }
state: state
services: { redis: { service: apps/redis, ports: [{ port: 6379, portMap: 1 }] } }
`
  writeFileSync(join(folder, 'mesh.yaml'), mesh)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (args: string[], env: Record<string, string> = {}) =>
  execa(process.execPath, ['--disable-warning=ExperimentalWarning', program, 'check', ...args], {
    cwd: folder,
    reject: false,
    env: { NO_COLOR: undefined, FORCE_COLOR: undefined, ...env },
  })

describe('on a machine without anything', () => {
  test('it ends with a cross for each system, and exit code 1', async () => {
    const { stdout, exitCode } = await run(['--json'])
    const envelope = JSON.parse(stdout) as Envelope & { result: { groups: CheckedGroup[]; failed: string[] } }
    expect({ exitCode, ok: envelope.ok }).toEqual({ exitCode: 1, ok: false })
    expect(envelope.result.failed).toEqual([
      ...['tailscale-key-files', 'tailscaled-answers', 'cluster-answers', 'operator-key-files'],
      ...['caddy-answers', 'caddy-version', 'caddy-file-readable', 'engine-answers', 'worker-answers'],
      'redis/port-map-answers',
    ])
    expect(envelope.error?.code).toBe('check-failed')
    expect(envelope.next_actions).toEqual(['onehop check --wait'])
  })

  test('skipping all of these leaves only warnings, and exit code 0', async () => {
    const skip = (JSON.parse((await run(['--json'])).stdout) as { result: { failed: string[] } }).result
      .failed
    const [first = '', ...others] = skip
    const { stdout, stderr, exitCode } = await run(['--skip', first, '--skip', others.join(','), '--short'])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toContain('not looked at: the cluster did not answer')
    expect(stdout).not.toContain('×')
  })

  test('a pipe gets no colours, and NO_COLOR keeps them from whoever asks for them', async () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour begins with
    const colour = /\u001b\[/
    expect((await run(['--pre'])).stdout).not.toMatch(colour)
    expect((await run(['--pre'], { FORCE_COLOR: '1' })).stdout).toMatch(colour)
    expect((await run(['--pre'], { NO_COLOR: '1' })).stdout).not.toMatch(colour)
  })

  test('--wait says once what it waits for, and gives up when the time is over', async () => {
    const { stderr, exitCode } = await run(['--wait', '6', '--short'])
    expect(exitCode).toBe(1)
    expect(stderr.match(/^waiting for: /gm)).toHaveLength(1)
  })
})

test.each([
  { args: ['--skip', 'no-such-check'], says: 'no-such-check' },
  { args: ['--skip', 'nosuch/service-exists'], says: 'nosuch/service-exists' },
  { args: ['--skip', 'redis/caddy-answers'], says: 'redis/caddy-answers' },
  { args: ['--wait', 'redis'], says: 'redis' },
])('bad input ($args) is refused with exit code 2', async ({ args, says }) => {
  const { stdout, exitCode } = await run([...args, '--json'])
  const { error } = JSON.parse(stdout) as Envelope
  expect({ exitCode, code: error?.code }).toEqual({ exitCode: 2, code: 'flag-invalid' })
  expect(error?.message).toContain(says)
})

test('a service that mesh.yaml does not have is refused with exit code 2', async () => {
  const { stdout, exitCode } = await run(['nosuch', '--json'])
  expect({ exitCode, code: (JSON.parse(stdout) as Envelope).error?.code }).toEqual({
    exitCode: 2,
    code: 'service-unknown',
  })
})
