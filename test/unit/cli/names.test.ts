import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { check } from '../../../src/cli/check.ts'
import { journal } from '../../../src/cli/journal.ts'
import { probe } from '../../../src/cli/probe.ts'
import { retire } from '../../../src/cli/retire.ts'
import { rollback } from '../../../src/cli/rollback.ts'
import { unexpose } from '../../../src/cli/unexpose.ts'
import { badNames } from '../bad-names.ts'

// Arguments that are no names: whatever a script passes on, no file but those of mesh.yaml's own services is opened.
let around: string
let mesh: string

beforeEach(() => {
  around = mkdtempSync(join(tmpdir(), 'onehop-cli-names-'))
  mkdirSync(join(around, 'outside'))
  writeFileSync(join(around, 'outside/secret.json'), 'the first bytes of a secret')
  const credentials = { clientIdFile: 'credential', clientSecretFile: 'credential' }
  mesh = join(around, 'mesh.yaml')
  writeFileSync(
    mesh,
    JSON.stringify({
      kubernetes: { context: 'admin@talos', kubeconfig: 'none' },
      tailnet: 'a.ts.net',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://127.0.0.1:1' },
      state: 'state',
      services: { redis: { service: 'apps/redis', ports: [6379] } },
    }),
  )
})
afterEach(() => rmSync(around, { recursive: true, force: true }))

const commands: Record<string, (name: string) => Promise<unknown>> = {
  journal: (service) => journal({ mesh, service }),
  rollback: (name) => rollback({ mesh, json: true, services: [name] }),
  'rollback --local': (name) => rollback({ mesh, json: true, local: true, services: ['redis', name] }),
  'rollback --force': (name) => rollback({ mesh, json: true, local: true, force: true, services: [name] }),
  unexpose: (service) => unexpose({ mesh, json: true, service }),
  retire: (service) => retire({ mesh, json: true, yes: true, force: true, service }),
  check: (name) => check({ mesh, json: true, skip: [], services: [name] }),
  'probe --as': (as) => probe({ mesh, as, once: true }),
}

describe.each(Object.keys(commands))('onehop %s', (command) => {
  test('refuses a name that is none, and opens nothing of it', async () => {
    for (const name of badNames) {
      const answer = await commands[command]?.(name).catch((thrown: unknown) => thrown)
      expect([name, answer]).toEqual([
        name,
        expect.objectContaining({ code: expect.stringMatching(/^(service-unknown|flag-invalid)$/) }),
      ])
      expect(JSON.stringify(answer)).not.toContain('first bytes')
    }
    const made = readdirSync(around, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /^(outside|state\/\w+)\/./.test(file),
    )
    expect(made).toEqual(['outside/secret.json'])
    expect(readFileSync(join(around, 'outside/secret.json'), 'utf8')).toBe('the first bytes of a secret')
  })
})
