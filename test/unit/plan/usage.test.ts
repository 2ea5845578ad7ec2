import { describe, expect, test } from 'vitest'
import { type UsageSample, usageOf, usageProblem } from '../../../src/plan/usage.ts'

const second = 1000
const cron = { port: 8288, process: 'bun', pid: 7 }
const probe = { port: 8288, process: 'onehop', pid: 1 }
const hidden = { port: 8288, process: null, pid: null, peer: '100.64.0.9:61022' }
const settings = { since: 0, holdSeconds: 60, everySeconds: 10, own: [1] }
const counter = { since: -second, requests: 5, inFlight: 0 }

/** A look every 10 s, from 0 to `until`, with Caddy's counter unless `more` says otherwise. */
const looks = (until: number, more: (at: number) => Partial<UsageSample> = () => ({})): UsageSample[] =>
  Array.from({ length: until / 10 + 1 }, (_, index) => ({
    at: index * 10 * second,
    users: [],
    counted: counter,
    ...more(index * 10),
  }))
const verdictAt = (now: number, samples: UsageSample[]) =>
  usageOf({ ...settings, samples, now: now * second })

describe('an old path is', () => {
  test('unused once nobody was seen and nothing counted for the whole time', () => {
    // The first look finds earlier requests in the counter: when they came is not known.
    expect(verdictAt(60, looks(60))).toMatchObject({ verdict: 'not-yet', heldSeconds: 50 })
    expect(verdictAt(70, looks(70))).toEqual({ verdict: 'unused', heldSeconds: 60, users: [] })
  })

  test('unused also while our own probes use it', () => {
    const samples = looks(100, () => ({ users: [probe] }))
    expect(verdictAt(100, samples).verdict).toBe('unused')
    expect(usageOf({ ...settings, own: [], samples, now: 100 * second }).verdict).toBe('in-use')
  })

  test('in use while somebody is there, also one whose process cannot be seen', () => {
    const samples = looks(100, (at) => ({ users: at === 100 ? [probe, cron, hidden] : [] }))
    expect(verdictAt(100, samples)).toMatchObject({
      verdict: 'in-use',
      heldSeconds: 0,
      users: [cron, hidden],
    })
  })

  test('in use while a request through Caddy is open', () => {
    const open = looks(100, () => ({ counted: { ...counter, inFlight: 1 } }))
    expect(verdictAt(100, open)).toMatchObject({ verdict: 'in-use', users: [] })
  })

  test('not yet unused after any use: the time begins anew', () => {
    const seen = looks(100, (at) => ({ users: at === 60 ? [cron] : [] }))
    expect(verdictAt(100, seen)).toEqual({ verdict: 'not-yet', heldSeconds: 30, users: [cron] })
    const requests = looks(100, (at) => ({ counted: { ...counter, requests: at < 60 ? 5 : 6 } }))
    expect(verdictAt(100, requests)).toMatchObject({ verdict: 'not-yet', heldSeconds: 30 })
  })

  test('not yet unused after a gap in the looking, in between or until now', () => {
    const gap = looks(200).filter(({ at }) => at <= 60 * second || at >= 160 * second)
    expect(verdictAt(200, gap)).toMatchObject({
      verdict: 'not-yet',
      heldSeconds: 40,
      gap: { from: 60 * second, to: 160 * second },
    })
    expect(verdictAt(131, looks(100))).toMatchObject({ verdict: 'not-yet', heldSeconds: 0 })
    expect(verdictAt(130, looks(100)).verdict).toBe('unused')
    expect(verdictAt(100, [])).toEqual({ verdict: 'not-yet', heldSeconds: 0, users: [] })
  })

  test('only sampled where Caddy does not count, or no longer does', () => {
    const none = looks(100).map(({ counted: _, ...sample }) => sample)
    expect(verdictAt(100, none)).toMatchObject({ verdict: 'sampled-only', heldSeconds: 100 })
    expect(verdictAt(100, [...looks(90), ...none.slice(-1)]).verdict).toBe('sampled-only')
  })

  test('only sampled where no route leads to one of its ports, and in use all the same while Caddy counts', () => {
    const verdict = (samples: UsageSample[]) =>
      usageOf({ ...settings, samples, now: 100 * second, counts: false })
    expect(verdict(looks(100))).toMatchObject({ verdict: 'sampled-only', heldSeconds: 90 })
    expect(verdict(looks(100, () => ({ counted: { ...counter, inFlight: 1 } }))).verdict).toBe('in-use')
  })

  test('not yet unused when the counter began anew: nobody counted what came just before', () => {
    const reloaded = looks(200, (at) => ({
      counted: at < 150 ? counter : { ...counter, since: 149 * second, requests: 0 },
    }))
    expect(verdictAt(200, reloaded)).toMatchObject({ verdict: 'not-yet', heldSeconds: 50 })
  })

  test('judged only from the switch on, in any order of the samples', () => {
    const samples = looks(200, (at) => ({ users: at < 100 ? [cron] : [] })).reverse()
    expect(usageOf({ ...settings, since: 100 * second, samples, now: 200 * second })).toMatchObject({
      verdict: 'unused',
      users: [],
    })
  })
})

test('what stands in the way is said with the cure', () => {
  const named = { service: 'inngest', file: '/c/Caddyfile', holdSeconds: 60, everySeconds: 10 }
  const usage = { heldSeconds: 20, users: [cron, hidden] }
  expect(usageProblem({ verdict: 'unused', ...usage }, named)).toBeUndefined()
  expect(usageProblem({ verdict: 'in-use', ...usage }, named)?.message).toBe(
    'the old path of inngest is in use: bun (pid 7) on port 8288, a process that cannot be seen (100.64.0.9:61022) on port 8288',
  )
  expect(usageProblem({ verdict: 'not-yet', heldSeconds: 20, users: [cron] }, named)?.message).toBe(
    'the old path of inngest was seen unused for 20 s so far; 60 s are asked (last user: bun (pid 7) on port 8288)',
  )
  expect(usageProblem({ verdict: 'sampled-only', ...usage }, named)?.fix).toBe(
    'once onehop check says that Caddy runs its file: write "metrics" (a line of its own) into the global options of /c/Caddyfile and reload Caddy in the environment that its service has; where no Caddy route leads to it, or to one of its ports, nothing counts: onehop retire inngest --force',
  )
})
