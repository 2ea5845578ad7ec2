import { expect, test } from 'vitest'
import type { CaseRequest, CaseService } from './case.ts'
import { runCase } from './run-case.ts'

const service: CaseService = {
  ...{ routed: true, spelling: 'localhost', probe: 'tcp', before: 'nothing' },
  ...{ engine: false, elsewhere: false },
}
const run = (requests: CaseRequest[]) =>
  runCase({
    ...{ seed: 1, services: [service, service], requests },
    ...{ faults: [], lost: 'rollback', takeBack: false },
  })
const migrate = (at: number): CaseRequest => ({ kind: 'migrate', service: 0, at })

test('a migration that only looked again at what was moved is stopped: all of it stays moved', async () => {
  const { effects } = await run([migrate(0)])
  for (const more of [30, 60, 90]) {
    const abort: CaseRequest = { kind: 'abort', service: 0, at: effects + more }
    const { violations, ends } = await run([migrate(0), migrate(effects + 1), abort])
    expect(violations).toEqual([])
    expect(ends.services).toEqual({
      s1: { state: 'moved', code: undefined },
      s2: { state: 'moved', code: undefined },
    })
    expect(ends.requests).toContainEqual({ state: 'failed', code: 'request-aborted' })
  }
})

test('an abort of everything takes all of it back, or is refused because the migration has ended', async () => {
  const { effects } = await run([migrate(0)])
  const seen = new Set<string>()
  for (let at = effects - 240; at <= effects; at += 6) {
    const { violations, ends } = await run([migrate(0), { kind: 'abort all', service: 0, at }])
    expect(violations).toEqual([])
    const isRefused = ends.requests.some((each) => each.code === 'nothing-to-abort')
    const states = Object.values(ends.services).map((each) => each.state)
    expect(states, `at effect ${at} of ${effects}`).toEqual(
      isRefused ? ['moved', 'moved'] : ['restored', 'restored'],
    )
    seen.add(states.join())
  }
  expect(seen).toEqual(new Set(['moved,moved', 'restored,restored']))
})
