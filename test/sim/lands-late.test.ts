import { expect, test } from 'vitest'
import { type Case, plainCase } from './case.ts'
import { runCase } from './run-case.ts'

// What was sent before its sender was killed, cancelled or overtaken, and has its effect after that.
test('a rollback, a cancel or an abort that comes while an apply hangs: the apply is taken back, or never made', async () => {
  const violated: string[] = []
  let restored = 0
  for (let at = 100; at <= 300; at += 4) {
    const slow = { kind: 'slow', at: 1, on: at % 8 === 0 ? 'annotate s1' : 'POST /load' } as const
    const kinds = ['rollback', 'local rollback', 'abort'] as const
    const kind = kinds[(at / 4) % kinds.length] ?? 'rollback'
    const { violations, ends } = await runCase({
      ...{ ...plainCase, seed: at, takeBack: false, faults: [slow, { kind: 'cancelled run', at: at + 20 }] },
      requests: [...plainCase.requests, { kind, service: 0, at }],
    })
    if (ends.services.s1?.state === 'restored') restored++
    if (violations.length > 0) violated.push(`at effect ${at}: ${violations[0]}`)
  }
  expect(violated).toEqual([])
  expect(restored).toBeGreaterThan(25)
})

test('a ClusterIP that lands minutes after its worker died, and after the undo, is refused', async () => {
  const violated: string[] = []
  for (let seed = 1; seed <= 60; seed++) {
    const { violations } = await runCase({
      ...plainCase,
      seed,
      takeBack: false,
      requests: [...plainCase.requests, { kind: 'retire', service: 0, at: 1_000_000 }],
      faults: [
        { kind: 'worker killed', at: 1, on: 'take type s1' },
        { kind: 'engine gone', at: 480, on: 'list requests' },
      ],
    })
    if (violations.length > 0) violated.push(`seed ${seed}: ${violations[0]}`)
  }
  expect(violated).toEqual([])
})

test('cancelled at every await of a migration: restored, or moved by then, and the reason is there to be shown', async () => {
  const alone: Case = { ...plainCase, takeBack: false }
  const { effects } = await runCase(alone)
  const wrong: string[] = []
  const seen = { untouched: 0, restored: 0, moved: 0 }
  for (let at = 1; at <= effects; at++) {
    const cancelled: Case = { ...alone, seed: at, faults: [{ kind: 'cancelled run', at }] }
    const { violations, ends, faults } = await runCase(cancelled)
    if (!faults['cancelled run']) continue
    const { s1 = { state: 'untouched', code: undefined } } = ends.services
    seen[s1.state as 'moved']++
    const told = [s1, ...ends.requests].some((each) => each.code === 'request-cancelled')
    const isRight =
      s1.state === 'moved' || (told && (s1.state === 'untouched' || s1.code === 'request-cancelled'))
    if (violations.length > 0 || !isRight)
      wrong.push(`at effect ${at}: ${violations[0] ?? JSON.stringify(ends)}`)
  }
  expect(wrong).toEqual([])
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(0)
})

test('a rollback that is cancelled at every await is finished all the same', async () => {
  const moved = await runCase({ ...plainCase, takeBack: false })
  const undone: Case = {
    ...plainCase,
    takeBack: false,
    requests: [...plainCase.requests, { kind: 'rollback', service: 0, at: 1_000_000 }],
  }
  const { effects } = await runCase(undone)
  const wrong: string[] = []
  let cancelled = 0
  for (let at = moved.effects; at <= effects; at++) {
    const { violations, ends, faults } = await runCase({
      ...undone,
      seed: at,
      faults: [{ kind: 'cancelled run', at }],
    })
    if (!faults['cancelled run']) continue
    cancelled++
    // Cancelled before it had begun with the service, it never was.
    const begun =
      ends.services.s1?.state === 'restored' ||
      ends.requests.some((each) => each.code === 'request-cancelled')
    if (violations.length > 0 || !begun)
      wrong.push(`at effect ${at}: ${violations[0] ?? JSON.stringify(ends)}`)
  }
  expect(wrong).toEqual([])
  expect(cancelled).toBeGreaterThan(100)
})

test('an apply that lands minutes after its worker died, and after the undo, is refused', async () => {
  const violated: string[] = []
  for (let seed = 1; seed <= 60; seed++) {
    const killed = { kind: 'worker killed', at: 1, on: 'annotate s1' } as const
    const gone = { kind: 'engine gone', at: 120, on: 'list requests' } as const
    const { violations } = await runCase({ ...plainCase, seed, faults: [killed, gone] })
    if (violations.length > 0) violated.push(`seed ${seed}: ${violations[0]}`)
  }
  expect(violated).toEqual([])
})
