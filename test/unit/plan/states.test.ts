import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openJournal } from '../../../src/journal.ts'
import type { State } from '../../../src/journal-records.ts'
import { commandsFrom } from '../../../src/plan/states.ts'

const states: State[] = [
  'exposing',
  'moved',
  'retiring',
  'retired',
  'rolling-back',
  'restored',
  'rollback-incomplete',
]

/** A journal in which redis is in this state. */
async function journalOf(state: State | 'planned') {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-states-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const journal = await openJournal(folder)
  if (state === 'planned') return journal
  const [request, run] = ['earlier', 'run of earlier']
  await journal.beginRequest({ id: request, event: 'e', data: {}, run }, 60)
  await journal.begin('redis', { request, run, ...world })
  if (state === 'exposing') return journal
  if (state === 'moved' || state === 'retiring' || state === 'retired') {
    await journal.end('redis', 1, { state: 'moved' })
    if (state === 'moved') return journal
    await journal.beginRetire('redis', { request, run: 'retirement' })
    if (state === 'retired') await journal.end('redis', 2, { state })
    return journal
  }
  await journal.beginRollback('redis', { request, run: 'undo' })
  if (state !== 'rolling-back') await journal.end('redis', 2, { state })
  return journal
}
const world = { cluster: 'uid', tailnet: 'a.ts.net' }

const now = { request: 'now', run: 'run of now' }
const commands = {
  expose: (journal: Awaited<ReturnType<typeof journalOf>>) => journal.begin('redis', { ...now, ...world }),
  retire: (journal: Awaited<ReturnType<typeof journalOf>>) => journal.beginRetire('redis', now),
  rollback: (journal: Awaited<ReturnType<typeof journalOf>>) => journal.beginRollback('redis', now),
}
// Moved services may be moved again, and what is restored may be taken back again: neither does any harm, or any good.
const idle = ['moved expose', 'restored rollback']

test.each(
  (['planned', ...states] as const).flatMap((state) =>
    (['expose', 'retire', 'rollback'] as const).map((command) => [state, command] as const),
  ),
)('%s: the journal takes "onehop %s" if and only if it is named as possible', async (state, command) => {
  const journal = await journalOf(state)
  const named = commandsFrom(state, 'redis').some((each) => each.startsWith(`onehop ${command} redis`))
  const taken = await commands[command](journal).then(
    () => true,
    () => false,
  )
  expect(taken).toBe(named || idle.includes(`${state} ${command}`))
})

test('what fell back is moved again before its old path can be retired; without an old path nothing can', () => {
  expect(commandsFrom('moved', 'redis', { fellBack: true })).toEqual([
    'onehop expose redis',
    'onehop rollback redis',
  ])
  expect(commandsFrom('moved', 'redis', { oldPath: false })).toEqual(['onehop unexpose redis'])
})
