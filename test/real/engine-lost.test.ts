import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { entryOf, onehop, requestOf, sendEvent, waitFor, world } from './panda.ts'
import {
  beginRollback,
  engineBack,
  impatient,
  killEngine,
  phases,
  reached,
  sampled,
  scaleEngine,
  settled,
  undoPhases,
  whole,
} from './under-way.ts'

let before: Awaited<ReturnType<typeof whole>>
let patience: Disposable

beforeAll(async () => {
  await onehop('operator', 'install')
  await onehop('rollback', 'qdrant', '--local')
  before = await whole()
  patience = impatient()
})
afterAll(async () => {
  await scaleEngine(1)
  await engineBack()
  await onehop('rollback', 'qdrant', '--local')
  patience[Symbol.dispose]()
})

describe('the engine restarts and has forgotten every run', () => {
  test.for(sampled(phases))('during a move, in "%s": the service is put back', async (phase) => {
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, phase)
    await killEngine()
    expect(await settled()).toMatch(/restored|untouched/)
    expect(await whole()).toEqual(before)
    expect(requestOf(id)).toMatchObject({ state: 'failed', failure: { code: 'run-lost' } })
    await engineBack()
  })

  test.for(sampled(undoPhases))('during a rollback, in "%s": the rollback is finished', async (phase) => {
    const id = randomUUID()
    await beginRollback(id)
    await reached(id, phase)
    await killEngine()
    expect(await settled()).toBe('restored')
    expect(await whole()).toEqual(before)
    await engineBack()
  })
})

describe('the engine is gone for good', () => {
  test('with the worker alive: it rolls back by itself', async () => {
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, 'wave 1/soak: prove (1)')
    await scaleEngine(0)
    await killEngine()
    expect(await settled()).toBe('restored')
    expect(await whole()).toEqual(before)
    expect(entryOf('qdrant')?.failure?.code).toBe('run-lost')
    await scaleEngine(1)
    await engineBack()
  })

  test('with the worker dead too: rollback --local takes it back', async () => {
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, 'qdrant/expose: prove')
    await scaleEngine(0)
    await killEngine()
    await world.server('worker').kill()
    const { envelope } = await onehop('rollback', 'qdrant', '--local')
    expect(envelope.result).toMatchObject({ state: 'restored' })
    expect(await whole()).toEqual(before)
    await scaleEngine(1)
    await world.server('worker').start()
    await engineBack()
    expect(await settled()).toBe('restored')
  })

  test('with mesh.yaml asking for it, a lost move is resumed, once', async () => {
    patience[Symbol.dispose]()
    patience = impatient(6, 'resume')
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, 'wave 1/soak: prove (1)')
    await killEngine()
    await waitFor('the resumed move', () => entryOf('qdrant')?.request === `${id}/qdrant/resumed`, 90)
    expect(await settled()).toBe('moved')
    await onehop('rollback', 'qdrant', '--local')
    expect(await whole()).toEqual(before)
  })
})
