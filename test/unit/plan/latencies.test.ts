import { expect, test } from 'vitest'
import { addLatency, type Latencies, percentile } from '../../../src/plan/latencies.ts'

const counted = (all: number[]) => all.reduce<Latencies>(addLatency, {})
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

test('percentiles are by nearest rank', () => {
  const latencies = counted(upTo(100).reverse())
  expect([50, 90, 99, 100].map((each) => percentile(latencies, each))).toEqual([50, 90, 99, 100])
})

test('of few answers, p99 is the slowest', () => {
  expect(percentile(counted([3, 900, 4]), 99)).toBe(900)
  expect(percentile(counted([7]), 50)).toBe(7)
})

test('of no answers there is none', () => {
  expect(percentile({}, 50)).toBeUndefined()
})

test.each([
  [0, 0],
  [0.2, 1],
  [99, 99],
  [100, 100],
  [101, 110],
  [999, 1000],
  [1001, 1100],
  [12_345, 13_000],
])('%d ms counts as %d: never less than it was', (ms, kept) => {
  expect(percentile(addLatency({}, ms), 99)).toBe(kept)
})

test('a soak of any length stays small', () => {
  const latencies = counted(upTo(10_000))
  expect(Object.keys(latencies).length).toBeLessThan(300)
  expect(percentile(latencies, 50)).toBe(5000)
})
