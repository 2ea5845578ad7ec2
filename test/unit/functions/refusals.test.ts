import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { migrate } from '../../../src/functions/migrate.ts'
import { rollback } from '../../../src/functions/rollback.ts'
import { createWorkflows } from '../../../src/functions/workflows.ts'
import { openJournal } from '../../../src/journal.ts'
import { createSetup } from '../../../src/setup.ts'
import { localEngine } from '../../../src/steps/step.ts'
import { localStep } from '../local-step.ts'

// The workflows as plain functions over local steps: no engine, and refused before any system is asked.
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
  return createSetup(join(folder, 'mesh.yaml'))
}

test('a migration by a mesh.yaml that cannot be taken is refused as a whole', async () => {
  const setup = write({ text: 'tailnet: [' })
  expect(await migrate(localStep, { setup, ...of })).toMatchObject({
    state: 'refused',
    failure: { code: 'mesh-invalid', kind: 'input' },
    services: [],
  })
})

test('a migration of an unknown service is refused, and names those there are', async () => {
  const result = await migrate(localStep, { setup: write(), services: ['redsi'], ...of })
  expect(result).toMatchObject({
    state: 'refused',
    failure: { code: 'service-unknown', message: expect.stringContaining('it has redis') },
  })
})

test('a migration never falls back to the current context', async () => {
  const result = await migrate(localStep, { setup: write({ context: 'minikube' }), ...of })
  expect(result).toMatchObject({
    state: 'refused',
    failure: { code: 'kubernetes-context-unknown', message: expect.stringContaining('minikube') },
  })
})

test('a rollback that cannot reach its cluster leaves the journal as it is', async () => {
  const setup = write({ context: 'minikube' })
  const journal = await openJournal(join(folder, 'state'))
  await journal.begin('redis', { ...of, cluster: 'uid-1', tailnet: 'a.ts.net' })
  const before = await journal.read('redis')
  const result = await rollback(localStep, { setup, services: ['redis'], request: 'undo', run: 'undo' })
  expect(result).toMatchObject([{ state: 'refused', failure: { code: 'kubernetes-context-unknown' } }])
  expect(await journal.read('redis')).toEqual(before)
})

test.each(['mesh/service.retire.requested', 'mesh/service.rollback.requested'])(
  '%s with a code that no command line wrote is refused, whoever sent it',
  async (name) => {
    const setup = write({ context: 'minikube' })
    const journal = await openJournal(join(folder, 'state'))
    const { attempt } = await journal.begin('redis', { ...of, cluster: 'uid-1', tailnet: 'a.ts.net' })
    await journal.end('redis', attempt, { state: 'moved' })
    const before = await journal.read('redis')
    const workflow = createWorkflows(setup, async () => undefined).find(({ triggers }) =>
      triggers.some((each) => 'event' in each && each.event === name),
    )
    const made = await journal.issueCode('force the retire of another')
    for (const force of ['made-up', made]) {
      const event = { id: `by-${force}`, name, data: { service: 'redis', force } }
      const run = workflow?.run({ event, runId: `run-${force}`, step: localEngine })
      await expect(run).rejects.toThrow('force-code-invalid')
    }
    expect(await journal.read('redis')).toEqual(before)
  },
)
