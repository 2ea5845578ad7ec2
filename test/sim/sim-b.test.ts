import { expect, test } from 'vitest'
import { simulate } from './simulate.ts'

// Two files of a thousand, so that two workers share them. A failure tells the one command that runs it again.
test('whatever fails, another thousand migrations end moved or restored, and nothing else is touched', async () => {
  const { seeds, moves, retirements, failures } = await simulate({ seeds: 1000, seed: 1001 })
  expect(failures).toEqual([])
  expect(seeds).toBe(1000)
  // A simulation in which hardly anything is moved shows nothing.
  expect(moves).toBeGreaterThan(500)
  expect(retirements).toBeGreaterThan(50)
})
