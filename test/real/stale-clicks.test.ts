import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { onehopProgram } from '../../sandbox/worker.ts'
import {
  engine,
  entryOf,
  meshFile,
  onehop,
  read,
  requestOf,
  runStatus,
  sendEvent,
  waitFor,
  world,
  writesByUs,
} from './panda.ts'
import { impatient, reached, sampled, settled, whole } from './under-way.ts'

// What a person can click in the dashboard, and at the worst moment.
let before: Awaited<ReturnType<typeof whole>>
let patience: Disposable

beforeAll(async () => {
  await onehop('operator', 'install')
  await onehop('rollback', 'qdrant', '--local')
  before = await whole()
  patience = impatient(15)
})
afterAll(async () => {
  await onehop('rollback', 'qdrant', '--local')
  patience[Symbol.dispose]()
})

describe('a run is run again from one of its steps', () => {
  const move = randomUUID()
  const undo = randomUUID()

  beforeAll(async () => {
    await sendEvent(move, 'mesh/service.expose.requested', { service: 'qdrant' })
    await waitFor('the move', () => requestOf(move)?.state === 'completed')
  })

  test('of a move that stands: no second effect', async () => {
    await rerunFromEveryStep(move)
    expect(entryOf('qdrant')?.state).toBe('moved')
  })

  test('of a move that was taken back since: no second effect, and none of its rollback', async () => {
    await sendEvent(undo, 'mesh/service.rollback.requested', { service: 'qdrant' })
    await waitFor('the rollback', () => requestOf(undo)?.state === 'completed')
    await rerunFromEveryStep(move)
    await rerunFromEveryStep(undo)
    expect(await whole()).toEqual(before)
  })

  test("of last week's rollback, while the service is moved anew: it stays moved", async () => {
    await onehop('expose', 'qdrant')
    await rerunFromEveryStep(undo)
    expect(entryOf('qdrant')?.state).toBe('moved')
    await onehop('rollback', 'qdrant')
  })
})

describe('two at once', () => {
  test('of two moves of one service one wins, and the other is told who has it', async () => {
    const [first, second] = [randomUUID(), randomUUID()]
    await sendEvent(first, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(first, 'qdrant/expose: prove')
    await sendEvent(second, 'mesh/service.expose.requested', { service: 'qdrant' })
    await waitFor(
      'both to end',
      () => [first, second].every((id) => !['running', undefined].includes(requestOf(id)?.state)),
      90,
    )
    expect(requestOf(first)?.state).toBe('completed')
    expect(requestOf(second)).toMatchObject({
      state: 'failed',
      failure: { code: 'request-in-progress', message: expect.stringContaining(first) },
    })
  })

  test('a rerun while the first run lives is refused, and the first goes on', async () => {
    await onehop('rollback', 'qdrant')
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, 'qdrant/expose: prove')
    const run = requestOf(id)?.run
    const { rerun } = await engine<{ rerun: string }>('mutation($id: ULID!) { rerun(runID: $id) }', {
      id: run,
    })
    await waitFor('the rerun to end', async () => (await runStatus(rerun)) === 'FAILED')
    await waitFor('the first to end', () => requestOf(id)?.state === 'completed')
    expect(requestOf(id)?.run).toBe(run)
  })

  test('a rollback of a service that is being moved wins, and the move is told', async () => {
    await onehop('rollback', 'qdrant')
    const id = randomUUID()
    await sendEvent(id, 'mesh/service.expose.requested', { service: 'qdrant' })
    await reached(id, 'qdrant/expose: prove')
    const { envelope } = await onehop('rollback', 'qdrant')
    expect(envelope.result).toMatchObject({ state: 'restored' })
    await waitFor('the move to end', () => requestOf(id)?.state === 'failed')
    expect(requestOf(id)?.failure?.code).toBe('attempt-superseded')
    expect(await whole()).toEqual(before)
  })

  test('a second worker on the same state folder says who holds it', async () => {
    const [node = '', ...program] = onehopProgram
    const other = `${meshFile}.second.yaml`
    writeFileSync(other, `${read(meshFile)}\nworker: { listen: 127.0.0.1:3222 }\n`)
    const second = await world.panda.run(node, [...program, 'worker', '--mesh', other, '--json'], {
      reject: false,
    })
    expect(JSON.parse(second.stdout).error).toMatchObject({
      code: 'journal-locked',
      message: expect.stringContaining(`pid ${world.server('worker').pid()}`),
    })
  })
})

describe('an abort', () => {
  test('finishes the change in hand, keeps what is moved, and rolls back the rest', async () => {
    const id = randomUUID()
    await sendEvent(id, 'mesh/migration.requested', { services: ['qdrant', 'inngest'] })
    await waitFor('the second wave', () => entryOf('inngest')?.state === 'exposing', 90)
    const { envelope } = await onehop('abort')
    expect(envelope.result).toMatchObject({ aborted: [id] })
    await waitFor('the migration to end', () => requestOf(id)?.state === 'failed', 200)
    expect([entryOf('qdrant')?.state, entryOf('inngest')?.state]).toEqual(['moved', 'restored'])
    expect(requestOf(id)?.failure?.code).toBe('request-aborted')
  })

  test('of everything takes back what was moved too', async () => {
    await onehop('rollback', 'qdrant')
    const id = randomUUID()
    await sendEvent(id, 'mesh/migration.requested', { services: ['qdrant', 'inngest'] })
    await waitFor('the second wave', () => entryOf('inngest')?.state === 'exposing', 90)
    await onehop('abort', id, '--all')
    await waitFor('the migration to end', () => requestOf(id)?.state === 'failed', 200)
    expect([entryOf('qdrant')?.state, entryOf('inngest')?.state]).toEqual(['restored', 'restored'])
    expect(await whole()).toEqual(before)
  })

  test('of nothing is refused', async () => {
    const { envelope } = await onehop('abort')
    expect(envelope.error?.code).toBe('nothing-to-abort')
  })
})

type Span = { name: string; stepID: string | null; stepOp: string | null; childrenSpans?: Span[] }

/** Reruns a run from each of its steps, one after the other, as the dashboard does; and asserts that nothing was written. */
async function rerunFromEveryStep(id: string): Promise<void> {
  const run = requestOf(id)?.run
  const { run: found } = await engine<{ run: { trace: Span } }>(
    'query($id: String!) { run(runID: $id) { trace(preview: true) { name stepID stepOp childrenSpans { name stepID stepOp } } } }',
    { id: run },
  )
  const all = (found.trace.childrenSpans ?? []).filter((each) => each.stepID && each.stepOp === 'RUN')
  expect(all.length).toBeGreaterThan(4)
  const steps = sampled(all)
  const writes = writesByUs()
  const reruns = await Promise.all(
    steps.map(async ({ stepID }) => {
      const { rerun } = await engine<{ rerun: string }>(
        'mutation($id: ULID!, $from: RerunFromStepInput) { rerun(runID: $id, fromStep: $from) }',
        { id: run, from: { stepID } },
      )
      return rerun
    }),
  )
  for (const each of reruns)
    await waitFor('the rerun to end', async () => ['COMPLETED', 'FAILED'].includes(await runStatus(each)), 90)
  await settled()
  expect(writesByUs()).toEqual(writes)
}
