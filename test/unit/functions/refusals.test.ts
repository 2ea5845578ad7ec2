import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { migrate } from '../../../src/functions/migrate.ts'
import { rollback } from '../../../src/functions/rollback.ts'
import { createJournal } from '../../../src/journal.ts'
import { localStep } from '../../../src/steps/step.ts'

// The workflows as plain functions over localStep: no engine, and refused before any system is asked.
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-functions-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const of = { request: 'request', run: 'run' }
const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const mesh = {
  kubernetes: { context: 'admin@talos', kubeconfig: 'kubeconfig' },
  tailnet: 'a.ts.net',
  tailscale: { credentials },
  operator: { version: '1.102.4', credentials },
  caddy: { file: 'Caddyfile' },
  engine: { url: 'http://127.0.0.1:1' },
  state: 'state',
  services: { redis: { service: 'apps/redis', ports: [6379] } },
}

/** A mesh.yaml beside a kubeconfig whose only context is `context`. */
function write({ context = 'admin@talos', text = stringify(mesh) } = {}) {
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: context, context: { cluster: 'c', user: 'u' } }],
  }
  writeFileSync(join(folder, 'kubeconfig'), stringify(kubeconfig))
  writeFileSync(join(folder, 'mesh.yaml'), text)
  return join(folder, 'mesh.yaml')
}

test('a migration by a mesh.yaml that cannot be taken is refused as a whole', async () => {
  const meshFile = write({ text: 'tailnet: [' })
  expect(await migrate(localStep, { meshFile, ...of })).toMatchObject({
    state: 'refused',
    failure: { code: 'mesh-invalid', kind: 'input' },
    services: [],
  })
})

test('a migration of an unknown service is refused, and names those there are', async () => {
  const result = await migrate(localStep, { meshFile: write(), services: ['redsi'], ...of })
  expect(result).toMatchObject({
    state: 'refused',
    failure: { code: 'service-unknown', message: expect.stringContaining('it has redis') },
  })
})

test('a migration never falls back to the current context', async () => {
  const result = await migrate(localStep, { meshFile: write({ context: 'minikube' }), ...of })
  expect(result).toMatchObject({
    state: 'refused',
    failure: { code: 'kubernetes-context-unknown', message: expect.stringContaining('minikube') },
  })
})

test('a rollback that cannot reach its cluster leaves the journal as it is', async () => {
  const meshFile = write({ context: 'minikube' })
  const journal = createJournal(join(folder, 'state'))
  await journal.begin('redis', { ...of, cluster: 'uid-1', tailnet: 'a.ts.net' })
  const before = await journal.read('redis')
  const result = await rollback(localStep, { meshFile, service: 'redis', request: 'undo', run: 'undo' })
  expect(result).toMatchObject({ state: 'refused', failure: { code: 'kubernetes-context-unknown' } })
  expect(await journal.read('redis')).toEqual(before)
})
