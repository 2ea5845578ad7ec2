import { expect, test } from 'vitest'
import type { CaseRequest, CaseService } from './case.ts'
import { runCase } from './run-case.ts'

const service: CaseService = {
  ...{ routed: true, spelling: 'localhost', probe: 'redis', before: 'tags' },
  ...{ engine: false, elsewhere: false },
}
/** One after the other, each when nothing happens any more. */
const inTurn = (kinds: Array<[CaseRequest['kind'], service?: number]>): CaseRequest[] =>
  kinds.map(([kind, service = 0], index) => ({ kind, service, at: index === 0 ? 0 : 1_000_000 + index }))

test('a rerun of any run, of any age, from any step: no second effect', async () => {
  const outcome = await runCase(
    {
      seed: 1,
      services: [service, { ...service, before: 'nothing', routed: false }],
      requests: inTurn([
        ['migrate'],
        ['rollback'],
        ['expose'],
        ['retire'],
        ['rollback', 1],
        ['some', 1],
        ['retire', 1],
        ['rollback all'],
        ['migrate'],
        ['abort'],
        ['retire', 1],
      ]),
      ...{ faults: [], lost: 'rollback', takeBack: false },
    },
    { rerunning: true },
  )
  expect(outcome.violations).toEqual([])
  expect(outcome.ends.services).toMatchObject({ s1: { state: 'moved' }, s2: { state: 'retired' } })
  expect(outcome.reruns).toBeGreaterThan(100)
})

test.each([1, 2, 3])(
  'twenty rollbacks in random order, with edits of Caddyfile and policy in between: those stay, ours go (%i)',
  async (seed) => {
    const services = [0, 1, 2, 3, 4].map((index) => ({
      ...service,
      routed: index !== 3,
      elsewhere: index === 2,
    }))
    const rounds = [1, 2, 3, 4].flatMap((by) => [
      ['migrate'] as [CaseRequest['kind']],
      ...services.flatMap(
        (_, index): Array<[CaseRequest['kind'], number?]> => [
          ['rollback', (index * by + seed) % 5],
          ['edit by hand'],
        ],
      ),
    ])
    const outcome = await runCase({
      ...{ seed, services, requests: inTurn(rounds), faults: [], lost: 'rollback', takeBack: false },
    })
    expect(outcome.violations).toEqual([])
    expect(outcome.moves).toBe(20)
    expect(Object.values(outcome.ends.services).map((each) => each.state)).toEqual(
      services.map(() => 'restored'),
    )
  },
)
