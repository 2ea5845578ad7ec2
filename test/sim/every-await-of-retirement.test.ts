import { expect, test } from 'vitest'
import { type Case, plainCase } from './case.ts'
import type { FaultKind } from './faults.ts'
import { runCase } from './run-case.ts'

test.for<FaultKind[]>([
  ['worker killed'],
  ['engine gone', 'worker killed'],
  ['cancelled run'],
  ['power cut'],
])('stopped at every await by %j, a retirement and its undo end well', async (kinds) => {
  const retired: Case = {
    ...plainCase,
    requests: [...plainCase.requests, { kind: 'retire', service: 0, at: 1_000_000 }],
  }
  const [moved, whole] = [await runCase({ ...plainCase, takeBack: false }), await runCase(retired)]
  expect(whole).toMatchObject({ violations: [], retirements: 1 })
  const violated: string[] = []
  for (let at = moved.effects; at <= whole.effects; at++) {
    const each: Case = {
      ...retired,
      seed: at,
      takeBack: at % 2 === 0,
      faults: kinds.map((kind) => ({ kind, at })),
    }
    const { violations } = await runCase(each)
    if (violations.length > 0) violated.push(`at effect ${at}: ${violations[0]}`)
  }
  expect(violated).toEqual([])
})
