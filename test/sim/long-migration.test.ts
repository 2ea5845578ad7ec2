import { expect, test } from 'vitest'
import { mostSteps } from '../../src/steps/count-steps.ts'
import type { CaseService } from './case.ts'
import { runCase } from './run-case.ts'

const service = (engine: boolean): CaseService => ({
  routed: true,
  spelling: 'localhost',
  probe: 'tcp',
  before: 'nothing',
  elsewhere: false,
  engine,
})

test('twenty services and a soak of an hour: the migration goes on in another run, and none comes near 1,000 steps', async () => {
  const services = [...Array.from({ length: 20 }, () => service(false)), service(true)]
  const outcome = await runCase({
    seed: 1,
    services,
    requests: [{ kind: 'migrate', service: 0, at: 0 }],
    faults: [],
    lost: 'rollback',
    takeBack: true,
    soakSeconds: 3600,
  })
  expect(outcome.violations).toEqual([])
  expect(outcome.migrations.length).toBeGreaterThan(1)
  expect(Math.max(...outcome.migrations)).toBeLessThanOrEqual(mostSteps)
})

test('the services of a wave that all fail still end within one run', async () => {
  const outcome = await runCase({
    seed: 2,
    services: Array.from({ length: 20 }, () => service(false)),
    requests: [
      { kind: 'migrate', service: 0, at: 0 },
      { kind: 'abort', service: 0, at: 2500 },
    ],
    faults: [],
    lost: 'rollback',
    takeBack: false,
    soakSeconds: 900,
  })
  expect(outcome.violations).toEqual([])
  expect(Math.max(...outcome.migrations)).toBeLessThan(1000)
})
