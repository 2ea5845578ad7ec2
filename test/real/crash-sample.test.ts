import { afterAll, beforeAll, expect, test } from 'vitest'
import { nameOf, sampleCases, stories } from '../crash/cases.ts'
import { lookAtStart, type Start } from '../crash/check-end.ts'
import { startCrashWorker } from '../crash/crash-worker.ts'
import points from '../crash/points.json' with { type: 'json' }
import { recordPoints } from '../crash/record-points.ts'
import { runCase } from '../crash/run-case.ts'
import { bringTo, storyOf } from '../crash/stories.ts'
import { onehop } from './panda.ts'

// A few of the kills of `npm run crash`, and the proof that its list of points is whole.
let start: Start
const stack = new AsyncDisposableStack()

beforeAll(async () => {
  await onehop('operator', 'install')
  start = await lookAtStart()
  stack.use(await startCrashWorker('serve'))
})

afterAll(async () => {
  await bringTo('restored')
  await stack.disposeAsync()
})

test('the code has no write and no effect that the sweep does not kill at', async () => {
  const passed = await recordPoints()
  // A point more, or one less: `npm run crash -- --record` writes the list anew.
  for (const story of stories) expect(passed[story].toSorted()).toEqual(points[story].toSorted())
})

test.for(sampleCases().map((each) => [nameOf(each), each] as const))(
  '%s: ends moved or restored',
  async ([, each]) => {
    await bringTo(storyOf[each.story].from)
    const row = await runCase(each, start)
    expect(row).toMatchObject({
      gone: true,
      landed: each.when === 'after',
      end: expect.stringMatching(/moved|restored/),
    })
  },
)
