import { expect, test } from 'vitest'
import { type Case, plainCase } from './case.ts'
import type { FaultKind } from './faults.ts'
import { runCase } from './run-case.ts'

test('a case runs the same way each time', async () => {
  const faulty: Case = {
    ...plainCase,
    faults: [
      { kind: 'power cut', at: 200 },
      { kind: 'duplicate', at: 300 },
    ],
  }
  const [first, second] = [await runCase(faulty, { tracing: true }), await runCase(faulty, { tracing: true })]
  expect(first.trace.length).toBeGreaterThan(300)
  expect(second).toEqual(first)
})

test('without a fault, a service is moved and taken back', async () => {
  expect(await runCase(plainCase)).toMatchObject({ violations: [], faults: {}, moves: 1 })
})

test.for<FaultKind[]>([
  ['worker killed'],
  ['engine gone', 'worker killed'],
  ['power cut'],
  ['partial write'],
  ['error after the effect'],
])('stopped at every await by %j, a migration and its undo end well', async (kinds) => {
  const { effects } = await runCase(plainCase)
  const violated: string[] = []
  for (let at = 1; at <= effects; at++) {
    const each: Case = { ...plainCase, seed: at, faults: kinds.map((kind) => ({ kind, at })) }
    const { violations } = await runCase(each)
    if (violations.length > 0) violated.push(`at effect ${at}: ${violations[0]}`)
  }
  expect(violated).toEqual([])
})
