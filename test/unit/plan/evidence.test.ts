import { describe, expect, test } from 'vitest'
import {
  emptyTally,
  evidenceOf,
  type PathName,
  soakProblem,
  tallied,
  vantageProblem,
  wayOf,
} from '../../../src/plan/evidence.ts'

const target = { host: 'redis.a.ts.net', port: 6379 }
const ok = (ms: number) => ({ target, answer: { ok: true as const, ms } })
const bad = { target, answer: { ok: false as const, ms: 2000, message: 'no answer', refused: false } }

const seen = (path: PathName, probes: Array<typeof bad | ReturnType<typeof ok>>, ways = {}) =>
  evidenceOf({ vantage: 'panda', path }, { ...probes.reduce(tallied, emptyTally('from')), ...ways }, 'to')

test('evidence has the figures of what was answered, and the last failure', () => {
  expect(seen('device name', [ok(3), ok(5), bad, ok(90)], { direct: 2, relayed: 1 })).toEqual({
    vantage: 'panda',
    path: 'device name',
    probes: 4,
    failures: 1,
    p50: 5,
    p99: 90,
    direct: 2,
    relayed: 1,
    message: 'redis.a.ts.net:6379 no answer',
    from: 'from',
    to: 'to',
  })
})

test('where nothing was answered there is no latency', () => {
  expect(seen('port map', [bad])).not.toHaveProperty('p50')
})

test.each([
  [{}, ''],
  [{ direct: 3, relayed: 0 }, 'direct'],
  [{ direct: 0, relayed: 3 }, 'relayed'],
  [{ direct: 2, relayed: 1 }, 'relayed 1 of 3 times'],
])('the way of %j is "%s"', (ways, words) => {
  expect(wayOf(ways)).toBe(words)
})

describe('a soak', () => {
  const judge = (
    paths: ReturnType<typeof seen>[],
    limits: { failures: number; p99?: number },
    ended = true,
  ) => soakProblem('redis', paths, { limits, ended })

  test('fails at any moment by failures on all paths together', () => {
    const paths = [seen('port map', [bad, ok(1)]), seen('device name', [ok(1), bad])]
    expect(judge(paths, { failures: 1 }, false)).toMatchObject({
      code: 'soak-failed',
      message: expect.stringContaining('failed 2 of 4 proofs'),
    })
    expect(judge(paths, { failures: 2 }, false)).toBeUndefined()
  })

  test('fails by p99 only once all was seen, with the figures', () => {
    const paths = [seen('device name', [ok(10), ok(300)], { direct: 0, relayed: 2 })]
    expect(judge(paths, { failures: 0, p99: 250 }, false)).toBeUndefined()
    const problem = judge(paths, { failures: 0, p99: 250 })
    expect(problem?.code).toBe('soak-slow')
    expect(problem?.message).toBe(
      'redis was too slow by its device name: p99 300 ms where 250 ms are allowed, p50 10 ms, 2 probes, relayed',
    )
    expect(judge(paths, { failures: 0, p99: 300 })).toBeUndefined()
    expect(judge(paths, { failures: 0 })).toBeUndefined()
  })

  test('a slow port map is no reason to go back to it', () => {
    expect(judge([seen('port map', [ok(300)])], { failures: 0, p99: 250 })).toBeUndefined()
    expect(judge([seen('old URL', [ok(300)])], { failures: 0, p99: 250 })?.code).toBe('soak-slow')
  })
})

test('another vantage is held to the same limits', () => {
  const judge = (path: ReturnType<typeof seen>, limits: { failures: number; p99?: number }) =>
    vantageProblem('redis', { ...path, vantage: 'clanker-001' }, limits)
  expect(judge(seen('device name', [ok(1), bad]), { failures: 0 })).toMatchObject({
    code: 'vantage-failed',
    message: expect.stringContaining('clanker-001 cannot use redis'),
  })
  expect(judge(seen('device name', [ok(1), bad]), { failures: 1 })).toBeUndefined()
  expect(judge(seen('device name', [ok(400)]), { failures: 0, p99: 250 })?.message).toContain('p99 400 ms')
})
