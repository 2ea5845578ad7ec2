import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { journal as showJournal } from '../../../src/cli/journal.ts'
import { status } from '../../../src/cli/status.ts'
import { OnehopError } from '../../../src/errors.ts'
import { openJournal } from '../../../src/journal.ts'
import { createSetup } from '../../../src/setup.ts'
import { touchedServices } from '../../../src/steps/undo-change.ts'
import { localStep } from '../local-step.ts'

const credentials = { clientIdFile: 'a', clientSecretFile: 'b' }

async function meshWithJournal() {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-status-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const mesh = join(folder, 'mesh.yaml')
  const text = {
    kubernetes: { context: 'c' },
    tailnet: 't.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile' },
    engine: { url: 'http://127.0.0.1:1' },
    worker: { listen: '127.0.0.1:1' },
    state: 'state',
    services: { redis: { service: 'apps/redis', ports: [6379] } },
  }
  writeFileSync(mesh, stringify(text))
  return { mesh, journal: await openJournal(join(folder, 'state')) }
}

test('a request that was cancelled before it came to any service is shown with the reason', async () => {
  const { mesh, journal } = await meshWithJournal()
  const event = 'mesh/migration.requested'
  for (const id of ['good', 'bad']) await journal.beginRequest({ id, event, data: {}, run: id }, 60)
  const failure = new OnehopError('request-cancelled', { request: 'bad' }).toJSON()
  await journal.endRequest('good', 'good', { state: 'completed', result: null })
  await journal.endRequest('bad', 'bad', { state: 'failed', result: null, failure })
  const { result, text } = await status({ mesh })
  expect(result).toMatchObject({
    requests: [],
    failed: [{ id: 'bad', event, failure: { code: 'request-cancelled' } }],
  })
  expect(text).toMatch(/mesh\/migration.requested bad: failed at \S+: the run of request bad was cancelled/)
  expect(text).not.toContain('good')
})

test('a running request is shown with its step, and journal names what can be done meanwhile', async () => {
  const { mesh, journal } = await meshWithJournal()
  const run = { id: 'move', event: 'mesh/service.expose.requested', data: {}, run: 'r' }
  await journal.beginRequest(run, 60)
  await journal.begin('redis', { request: 'move', run: 'r', cluster: 'uid', tailnet: 't.ts.net' })
  await journal.checkIn('move', 'r', { phase: 'redis/expose: prove', seconds: 60 })
  expect((await status({ mesh })).text).toContain(
    'mesh/service.expose.requested move: running, in "redis/expose: prove"',
  )
  expect((await showJournal({ mesh, service: 'redis' })).result).toMatchObject({
    services: [{ state: 'exposing', possible: ['onehop status', 'onehop abort', 'onehop rollback redis'] }],
    running: [{ id: 'move', lost: false }],
  })
})

test('what is moved and no longer in mesh.yaml is shown, and can be taken back by its name', async () => {
  const { mesh, journal } = await meshWithJournal()
  const of = { run: 'r', cluster: 'uid', tailnet: 't.ts.net' }
  await journal.begin('qdrant', { request: 'move', ...of })
  await journal.end('qdrant', 1, { state: 'moved' })
  const { result, text } = await status({ mesh })
  expect(text).toContain('qdrant is moved and no longer in mesh.yaml: onehop rollback qdrant')
  expect(result).toMatchObject({ forgotten: [{ name: 'qdrant', state: 'moved' }] })
  expect((await showJournal({ mesh, service: 'qdrant' })).result).toMatchObject({
    services: [{ service: 'qdrant', state: 'moved', possible: ['onehop rollback qdrant'] }],
  })
  const setup = createSetup(mesh)
  const touched = (names?: string[]) => touchedServices(localStep, setup, names)
  expect(await touched(['qdrant'])).toEqual({ ok: true, value: ['qdrant'] })
  expect(await touched(['qdrant', 'redis'])).toEqual({ ok: true, value: ['qdrant'] })
  expect(await touched(['nobody'])).toMatchObject({ ok: false, failure: { code: 'service-unknown' } })
  await expect(showJournal({ mesh, service: 'nobody' })).rejects.toMatchObject({ code: 'service-unknown' })
})
