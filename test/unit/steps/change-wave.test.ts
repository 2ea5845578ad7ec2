import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openJournal } from '../../../src/journal.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { changeWave, type SharedChange } from '../../../src/steps/change-wave.ts'
import { localStep } from '../local-step.ts'
import { smallMesh } from '../small-mesh.ts'

/** A file of lines, of which each move adds what it lacks. */
function linesOf(file: string[]): SharedChange<string[]> {
  const lacking = () =>
    ['rule', ...(file.includes('open') ? [] : ['denial'])].filter((each) => !file.includes(each))
  return {
    id: 'allow',
    read: async () => (lacking().length > 0 ? { before: [], target: lacking() } : undefined),
    extended: (earlier, now) =>
      now.some((each) => !earlier.includes(each)) ? [...earlier, ...now] : undefined,
    write: async () => file.push(...lacking()),
  }
}

test('what a second move writes beside the first is in the record before it is written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-wave-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const journal = await openJournal(folder)
  const mesh = smallMesh(folder)
  const work = { mesh, journal, systems: {} } as Work
  const setup: Setup = { mesh: async () => mesh, journal: async () => journal, work: async () => work }
  const file = ['open']
  const move = async (request: string) => {
    const of = { request, run: request }
    const { attempt } = await journal.begin('redis', { ...of, cluster: 'uid', tailnet: mesh.tailnet })
    const attempts = [{ name: 'redis', attempt }]
    const moved = await changeWave(
      localStep,
      { setup, ...of },
      { wave: 'w', attempts, change: linesOf(file) },
    )
    expect(moved).toEqual(attempts)
    await journal.end('redis', attempt, { state: 'moved' })
  }
  await move('first')
  expect(file).toEqual(['open', 'rule'])
  file.shift() // what stood open for all is narrowed
  await move('second')
  expect(file).toEqual(['rule', 'denial'])
  expect((await journal.read('redis'))?.changes).toMatchObject([{ id: 'allow', target: ['rule', 'denial'] }])
})
