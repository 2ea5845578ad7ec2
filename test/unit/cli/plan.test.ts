import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { migrate } from '../../../src/cli/migrate.ts'
import { answer } from '../../../src/cli/output.ts'
import { plan } from '../../../src/cli/plan.ts'

// A world in which nothing answers. What a whole one is like is for test/real/saved-plan.test.ts.
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-plan-'))
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const contexts = [{ name: 'c', context: { cluster: 'c', user: 'u' } }]
  const clusters = [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }]
  writeFileSync(
    join(folder, 'kubeconfig'),
    stringify({ clusters, contexts, users: [{ name: 'u', user: {} }] }),
  )
  writeFileSync(
    join(folder, 'mesh.yaml'),
    stringify({
      kubernetes: { context: 'c', kubeconfig: 'kubeconfig' },
      tailnet: 'a.ts.net',
      tailscale: { api: 'http://127.0.0.1:1', cli: 'no-such-tailscale', credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile', admin: 'http://127.0.0.1:1', bin: 'no-such-caddy' },
      engine: { url: 'http://127.0.0.1:1' },
      state: 'state',
      services: { redis: { service: 'apps/redis', ports: [6379] } },
    }),
  )
})
afterEach(() => rmSync(folder, { recursive: true }))
const mesh = () => join(folder, 'mesh.yaml')

test('a world that cannot be read whole is shown, has no hash, and is not saved', async () => {
  const out = join(folder, 'plan.json')
  const made = await plan({ mesh: mesh(), services: [], out })
  expect(made).toMatchObject({ result: { hash: null, blocked: 1 }, failure: { code: 'plan-incomplete' } })
  expect(made.text).toContain('this plan is incomplete')
  expect(existsSync(out)).toBe(false)
})

test('a service that is blocked is an error only where it was asked so', async () => {
  const asked = await plan({ mesh: mesh(), services: [], detailedExitcode: true })
  expect(asked).toMatchObject({
    failure: { code: 'plan-blocked', message: '1 of 1 services cannot be moved as things are' },
  })
  expect(await plan({ mesh: mesh(), services: [] })).not.toHaveProperty('failure')
})

test('services beside a saved plan are refused, and so is a plan that is not there', async () => {
  const file = join(folder, 'plan.json')
  await expect(migrate({ mesh: mesh(), plan: file, services: ['redis'] })).rejects.toMatchObject({
    code: 'flag-invalid',
  })
  await expect(migrate({ mesh: mesh(), plan: file, services: [] })).rejects.toMatchObject({
    code: 'plan-unreadable',
  })
})

test('changes are no failure, whatever the exit code says of them', async () => {
  const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const failure = { code: 'flag-invalid', kind: 'input', message: 'm', fix: 'f' } as const
  const envelopes = []
  for (const more of [{ exit: 2 as const }, { failure }, {}]) {
    await answer('plan', { json: true }, async () => ({ result: {}, text: '', ...more }))
    envelopes.push([process.exitCode, JSON.parse(String(printed.mock.lastCall?.[0])).ok])
  }
  process.exitCode = undefined
  printed.mockRestore()
  expect(envelopes).toEqual([
    [2, true],
    [2, false],
    [0, true],
  ])
})
