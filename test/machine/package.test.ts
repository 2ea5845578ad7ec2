import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findProgram } from '../../sandbox/cache.ts'

// The package as npm would publish it, installed in an empty folder.
const folder = mkdtempSync(join(tmpdir(), 'onehop-package-'))
const root = fileURLToPath(new URL('../..', import.meta.url))
const program = join(folder, 'node_modules/onehop/dist/src/cli/main.js')

beforeAll(async () => {
  const { stdout } = await execa('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const tarball = join(folder, stdout.trim().split('\n').at(-1) ?? '')
  await execa('npm', ['install', '--no-audit', '--no-fund', '--omit=dev', tarball], { cwd: folder })
})
afterAll(() => rmSync(folder, { recursive: true }))

test.for(['node22', 'bun'])('%s runs it', async (runtime) => {
  const run = (...args: string[]) =>
    execa(findProgram(runtime), [program, ...args, '--json'], { cwd: folder, reject: false })
  const caddyfile = join(folder, 'Caddyfile')
  writeFileSync(caddyfile, 'http://panda.test {\n\treverse_proxy localhost:8288\n}\n')
  const to = 'inngest.tail7af24.ts.net:8288'
  const preview = ['caddy', 'preview', '--file', caddyfile, '--from', 'localhost:8288', '--to', to]
  const shown = await run(...preview, '--bin', findProgram('caddy'))
  expect(JSON.parse(shown.stdout)).toMatchObject({ ok: true, error: null })
  expect(shown.stdout).toContain(to)

  const refused = await run('plan')
  expect(refused.exitCode).toBe(2)
  expect(JSON.parse(refused.stdout)).toMatchObject({ ok: false, error: { code: 'mesh-unreadable' } })
})

test.for(['node22', 'bun'])('%s takes its app in another program', async (runtime) => {
  writeFileSync(join(folder, 'key'), 'e7ba11c0ffee\n')
  writeFileSync(
    join(folder, 'mesh.yaml'),
    `kubernetes: { context: admin@talos }
tailnet: tail7af24.ts.net
tailscale: { credentials: { clientIdFile: key, clientSecretFile: key } }
operator: { version: 1.102.4, credentials: { clientIdFile: key, clientSecretFile: key } }
caddy: { file: Caddyfile }
engine: { url: http://127.0.0.1:1, eventKeyFile: key, signingKeyFile: key }
state: state
services:
  redis: { service: joelclaw/redis, ports: [6379] }
`,
  )
  const file = join(folder, 'app.mjs')
  writeFileSync(
    file,
    `import { createOnehopApp } from 'onehop'
import { events } from 'onehop/events'
const { app } = await createOnehopApp({ meshFile: 'mesh.yaml' })
const status = await (await app.request('/')).json()
console.log(JSON.stringify({ ...status, events: Object.keys(events) }))
`,
  )
  const { stdout } = await execa(findProgram(runtime), [file], { cwd: folder })
  const status = JSON.parse(stdout)
  expect(status).toMatchObject({ status: 'ok', service: 'onehop' })
  expect(status.functions).toContain('migrate')
  expect(status.events).toContain('mesh/service.expose.requested')
})
