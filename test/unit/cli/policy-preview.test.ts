import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { policyPreview } from '../../../src/cli/policy-preview.ts'
import { OnehopError } from '../../../src/errors.ts'

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../fixtures/policy/${name}.hujson`, import.meta.url))
const credentials = { clientIdFile: 'a', clientSecretFile: 'b' }

let folder: string
let mesh: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-policy-preview-'))
  mesh = join(folder, 'mesh.yaml')
  const services = {
    redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] },
    qdrant: { service: 'apps/qdrant', ports: [6333], allow: ['panda', 'clanker-001'] },
    pds: { service: 'apps/pds', ports: [3000] },
  }
  writeFileSync(
    mesh,
    stringify({
      kubernetes: { context: 'c' },
      tailnet: 't.ts.net',
      machine: 'panda',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://localhost:8288' },
      services,
    }),
  )
})
afterAll(() => rmSync(folder, { recursive: true }))

test('shows the new policy and what is added to it as a diff, and changes nothing', async () => {
  const file = fixture('hosts-present')
  const before = readFileSync(file, 'utf8')
  const { text, result } = await policyPreview({ file, mesh })
  expect(text.startsWith((result as { after: string }).after)).toBe(true)
  const changed = text.split('\n').filter((line) => /^[+-](?![+-])/.test(line))
  expect(changed.filter((line) => line.startsWith('-'))).toEqual(['-  "grants": [],'])
  expect(changed).toContain(
    '+    {"src": ["panda"], "dst": ["tag:svc-redis"], "ip": ["tcp:6379"]}, /* onehop: redis */],',
  )
  expect(text).not.toMatch(/pds|^! /m)
  expect(text).toMatch(/Nothing was changed\.$/)
  expect(readFileSync(file, 'utf8')).toBe(before)
})

test('warns of a rule from * to *, and says what the file cannot tell', async () => {
  const { text, result } = await policyPreview({ file: fixture('wide-open-acls'), mesh })
  expect(result).toMatchObject({
    wideOpen: [{ line: 5, rule: '{"action": "accept", "src": ["*"], "dst": ["*:*"]}' }],
  })
  expect(text).toContain('! line 5 lets everything reach everything')
  expect(text).toContain('! panda is not in hosts of this file')
  expect(text).toContain('! no test that clanker-001 is denied tag:svc-redis:6379')
})

test('says so when nothing is missing', async () => {
  const file = join(folder, 'all.hujson')
  const { result } = await policyPreview({ file: fixture('hosts-present'), mesh })
  writeFileSync(file, (result as { after: string }).after)
  expect((await policyPreview({ file, mesh })).text).toBe(
    'The policy has all that is needed.\nNothing was changed.',
  )
})

test('a file that is not there is a wrong flag', async () => {
  const failure = await policyPreview({ file: join(folder, 'none.hujson'), mesh }).catch((thrown) => thrown)
  expect(failure).toBeInstanceOf(OnehopError)
  expect(failure).toMatchObject({ code: 'flag-invalid', kind: 'input' })
})

test('is a command, which answers one envelope', async () => {
  const main = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
  const preview = (file: string) =>
    execa(process.execPath, [main, 'policy', 'preview', '--file', fixture(file), '--mesh', mesh, '--json'], {
      reject: false,
      env: { NODE_NO_WARNINGS: '1' },
    })
  const done = await preview('hosts-present')
  expect(JSON.parse(done.stdout)).toMatchObject({ ok: true, command: 'policy preview', error: null })
  const refused = await preview('refused-missing-comma')
  expect(refused.exitCode).toBe(1)
  expect(JSON.parse(refused.stdout).error).toEqual({
    code: 'policy-unreadable',
    message: 'line 3 of the policy: comma expected',
  })
})
