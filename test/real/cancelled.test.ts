import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RequestRecord } from '../../src/journal-records.ts'
import { entryOf, onehop, requestOf, sendEvent, waitFor, world } from './panda.ts'
import { stagings } from './stagings.ts'
import {
  beginRollback,
  cancel,
  impatient,
  phases,
  reached,
  sampled,
  settled,
  undoPhases,
  whole,
} from './under-way.ts'

// The engine runs no catch block and no word comes of a cancel but an event: what is left half done is found all the same.
let before: Awaited<ReturnType<typeof whole>>
let patience: Disposable

beforeAll(async () => {
  await onehop('operator', 'install')
  await onehop('rollback', 'qdrant', '--local')
  before = await whole()
  patience = impatient(15)
})
afterAll(async () => {
  await onehop('operator', 'install')
  await onehop('rollback', 'qdrant', '--local')
  patience[Symbol.dispose]()
})

/** What status tells of a service and of a request. */
async function told(id: string) {
  const { envelope } = await onehop('status')
  const { services, failed } = envelope.result as unknown as {
    services: Array<{ name: string; state: string; failure: { code: string } | null }>
    failed: Array<{ id: string; failure: { code: string } }>
  }
  const qdrant = services.find((each) => each.name === 'qdrant')
  return { qdrant, request: failed.find((each) => each.id === id) }
}
const cancelled = { failure: { code: 'request-cancelled' } }
const phaseOf = (id: string) => (requestOf(id) as RequestRecord | undefined)?.phase ?? ''

describe('a run is cancelled', () => {
  test.for(sampled(phases))('in "%s": the service is put back, and status says why', async (phase) => {
    const id = randomUUID()
    const attempt = entryOf('qdrant')?.attempt
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, phase)
    await cancel(requestOf(id)?.run)
    await waitFor('the request to have ended', () => requestOf(id)?.state === 'failed')
    expect(await settled()).toMatch(/restored|untouched/)
    expect(await whole()).toEqual(before)
    const { qdrant, request } = await told(id)
    expect(request).toMatchObject(cancelled)
    // Cancelled before it came to the service, it has left no trace there.
    if (entryOf('qdrant')?.attempt !== attempt)
      expect(qdrant).toMatchObject({ state: 'restored', ...cancelled })
  })

  test.for(sampled(undoPhases))('that is a rollback, in "%s": it is finished all the same', async (phase) => {
    const id = randomUUID()
    await beginRollback(id)
    await reached(id, phase)
    await cancel(requestOf(id)?.run)
    expect(await settled()).toBe('restored')
    expect(await whole()).toEqual(before)
    expect((await told(id)).request).toMatchObject(cancelled)
  })

  test('that waits for a rollback: the rollback goes on, and says why the service is back', async () => {
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await stagings['a proof fails after the switch'].during?.()
    await waitFor('its rollback', () => entryOf('qdrant')?.state === 'rolling-back', 90)
    await waitFor('the wait for it', () => phaseOf(id).includes('rollback: await'))
    await cancel(requestOf(id)?.run)
    expect(await settled()).toBe('restored')
    expect(await whole()).toEqual(before)
    const { qdrant, request } = await told(id)
    expect(request).toMatchObject(cancelled)
    expect(qdrant).toMatchObject({ state: 'restored', failure: { code: 'soak-failed' } })
  })

  test('that installs the operator: nothing of a service is touched, and the next one installs it whole', async () => {
    expect((await onehop('operator', 'remove')).envelope.error).toBeNull()
    const id = randomUUID()
    await sendEvent(id, 'mesh/migration.requested', { services: ['qdrant'] })
    await waitFor('the installation', () => phaseOf(id).startsWith('operator/'))
    const attempt = entryOf('qdrant')?.attempt
    await cancel(requestOf(id)?.run)
    await waitFor('the request to have ended', () => requestOf(id)?.state === 'failed')
    expect((await told(id)).request).toMatchObject(cancelled)
    expect((await onehop('operator', 'install')).envelope.error).toBeNull()
    expect(entryOf('qdrant')?.attempt).toBe(attempt)
    expect(await whole()).toEqual(before)
    expect(
      (await world.kubectl(['-n', 'tailscale', 'get', 'deployment', 'operator', '-o', 'name'])).trim(),
    ).not.toBe('')
  })
})
