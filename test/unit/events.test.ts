import { describe, expect, test } from 'vitest'
import { type EventName, events } from '../../inngest.config.ts'
import { badIds, badNames } from './bad-names.ts'

const failure = { code: 'name-taken', kind: 'refused', message: 'm', fix: 'f' }
const request = '01J'
const drift = {
  kind: 'no-endpoints',
  subject: 'redis',
  severity: 'critical',
  what: 'Service joelclaw/redis has no ready endpoint for port 6379',
  since: '2026-11-25T20:00:00.000Z',
}
const asked = { service: 'redis', attempt: 1, vantage: 'clanker-001', ask: 'word' }

const cases: Record<EventName, { good: unknown[]; bad: unknown[] }> = {
  'mesh/migration.requested': {
    good: [{}, { services: ['redis'] }, { plan: '0f'.repeat(32) }],
    bad: [
      ...[{ services: [] }, { services: 'redis' }, { services: [''] }, { service: 'redis' }],
      ...[{ plan: '0f' }, { plan: 'plan.json' }, { plan: '0F'.repeat(32) }],
    ],
  },
  'mesh/migration.continued': {
    good: [{ request, run: 'r', services: ['redis'], done: [{ name: 'qdrant', state: 'moved' }] }],
    bad: [
      { request, services: ['redis'], done: [] },
      { request, run: 'r', services: [], done: [] },
    ],
  },
  'mesh/migration.abort.requested': {
    good: [{}, { all: true }, { request }],
    bad: [{ all: 'yes' }, { service: 'redis' }],
  },
  'mesh/operator.install.requested': { good: [{}], bad: [{ version: '1.0.0' }] },
  'mesh/operator.remove.requested': { good: [{}], bad: [{ force: true }] },
  'mesh/policy.narrow.requested': { good: [{}], bad: [{ confirmed: true }] },
  'mesh/policy.narrow.completed': { good: [{ request, until: 'then' }], bad: [{}] },
  'mesh/policy.narrow.failed': { good: [{ request, failure }], bad: [{}] },
  'mesh/service.expose.requested': {
    good: [{ service: 'redis' }],
    bad: [{}, { service: '' }, { service: 1 }, { service: 'redis', force: true }],
  },
  'mesh/service.rollback.requested': {
    good: [{ service: 'redis' }, { service: 'redis', failure }, { service: 'redis', force: 'code' }],
    bad: [
      {},
      { service: 'redis', force: true },
      { service: 'redis', failure: 'because' },
      { service: 'redis', failure: { code: 'x' } },
    ],
  },
  'mesh/drift.check.requested': { good: [{}], bad: [{ repair: true }] },
  'mesh/drift.repair.requested': {
    good: [{}, { drifts: ['annotation-gone', 'route-elsewhere redis'] }],
    bad: [{ drifts: [] }, { drifts: 'annotation-gone' }, { service: 'redis' }],
  },
  'mesh/drift.detected': { good: [drift], bad: [{ ...drift, severity: 'bad' }, { kind: 'no-endpoints' }] },
  'mesh/drift.resolved': { good: [{ ...drift, until: 'now' }], bad: [{ ...drift, since: 1 }] },
  'mesh/drift.repair.completed': { good: [{ request, repairs: [] }], bad: [{}] },
  'mesh/drift.repair.failed': { good: [{ request, failure }], bad: [{ failure }] },
  'mesh/migration.completed': { good: [{ request, services: [] }], bad: [{}] },
  'mesh/migration.failed': { good: [{ request, failure }], bad: [{ failure }] },
  'mesh/operator.install.completed': { good: [{ request, changed: true }], bad: [{}] },
  'mesh/operator.install.failed': { good: [{ request, failure }], bad: [{}] },
  'mesh/operator.remove.completed': { good: [{ request, changed: true, notes: [] }], bad: [{}] },
  'mesh/operator.remove.failed': { good: [{ request, failure }], bad: [{}] },
  'mesh/service.expose.completed': { good: [{ request, service: 'redis' }], bad: [{ request }] },
  'mesh/service.expose.failed': {
    good: [{ request, service: 'redis', failure }],
    bad: [{ service: 'redis' }],
  },
  'mesh/rollback.requested': {
    good: [{}, { services: ['redis'] }, { operator: true }],
    bad: [{ services: [] }, { service: 'redis' }, { operator: 'tailscale' }],
  },
  'mesh/service.retire.requested': {
    good: [{ service: 'redis' }, { service: 'redis', force: 'code' }],
    bad: [{}, { service: 'redis', force: true }],
  },
  'mesh/path.probe.requested': {
    good: [{ ...asked, rounds: 5, every: 2 }],
    bad: [
      { ...asked, rounds: 0, every: 2 },
      { ...asked, rounds: 1000, every: 2 },
      { ...asked, rounds: 5, every: 3600 },
      { ...asked, vantage: '', rounds: 5, every: 2 },
      { ...asked, ask: 'w'.repeat(101), rounds: 5, every: 2 },
    ],
  },
  'mesh/path.probed': {
    good: [
      { ...asked, answers: [{ port: 6379, ok: true, ms: 3 }], direct: 1, relayed: 0 },
      { ...asked, answers: [], direct: 0, relayed: 0, failure: 'no mesh.yaml' },
    ],
    bad: [
      { ...asked, answers: [{ port: 6379, ok: true }], direct: 0, relayed: 0 },
      { ...asked, answers: [{ port: 0, ok: true, ms: 3 }], direct: 0, relayed: 0 },
      { ...asked, answers: [{ port: 1, ok: false, ms: 3, message: 'm'.repeat(301) }], direct: 0, relayed: 0 },
      { ...asked, answers: [], direct: -1, relayed: 0 },
      { ...asked, attempt: 0, answers: [], direct: 0, relayed: 0 },
      { service: 'redis', answers: [], direct: 0, relayed: 0 },
    ],
  },
  'mesh/service.retired': { good: [{ request, service: 'redis' }], bad: [{}] },
  'mesh/service.retire.failed': { good: [{ request, service: 'redis', failure }], bad: [{}] },
  'mesh/service.rolled-back': { good: [{ request, service: 'redis' }], bad: [{}] },
  'mesh/service.rollback.failed': { good: [{ request, service: 'redis', failure }], bad: [{}] },
}

test('every event has its cases', () => {
  expect(Object.keys(cases).sort()).toEqual(Object.keys(events).sort())
})

describe.each(Object.entries(cases))('%s', (name, { good, bad }) => {
  const schema = events[name as EventName]
  test.each(good.map((data) => [JSON.stringify(data), data] as const))('takes %s', (_, data) => {
    expect(schema.safeParse(data).error).toBeUndefined()
  })
  test.each(bad.map((data) => [JSON.stringify(data), data] as const))('refuses %s', (_, data) => {
    expect(schema.safeParse(data).success).toBe(false)
  })
})

test('an event that asks refuses keys that it does not know, with the key in the message', () => {
  const { error } = events['mesh/service.expose.requested'].safeParse({ service: 'redis', dryRun: true })
  expect(error?.issues[0]?.message).toContain('dryRun')
})

test('what a vantage saw is bounded, whatever it sends', () => {
  const answers = Array.from({ length: 2001 }, () => ({ port: 6379, ok: true, ms: 3 }))
  const { error } = events['mesh/path.probed'].safeParse({ ...asked, answers, direct: 0, relayed: 0 })
  expect(error?.issues[0]?.path).toEqual(['answers'])
})

describe('wherever an event names', () => {
  const named = new Set(['service', 'services', 'vantage', 'name'])
  const ids = new Set(['request', 'run', 'ask', 'force'])

  /** Each copy of the data in which one value under one of these keys is replaced. */
  function* replaced(data: unknown, keys: Set<string>, by: string): Generator<unknown> {
    if (Array.isArray(data)) {
      for (const [index, item] of data.entries())
        for (const each of replaced(item, keys, by)) yield data.with(index, each)
      return
    }
    if (typeof data !== 'object' || data === null) return
    for (const [key, value] of Object.entries(data)) {
      if (keys.has(key) && typeof value === 'string') yield { ...data, [key]: by }
      else if (keys.has(key) && Array.isArray(value) && typeof value[0] === 'string')
        yield { ...data, [key]: value.with(-1, by) }
      else for (const each of replaced(value, keys, by)) yield { ...data, [key]: each }
    }
  }

  const every = (keys: Set<string>, values: string[]) =>
    Object.entries(cases).flatMap(([name, { good }]) =>
      good.flatMap((data) =>
        values.flatMap((value) =>
          [...replaced(data, keys, value)].map((changed) => ({ name: name as EventName, changed })),
        ),
      ),
    )

  test('a service or a machine, it is a DNS label', () => {
    const all = every(named, badNames)
    // The events of drift name what drifted, which may be a site.
    expect(new Set(all.map(({ name }) => name)).size).toBe(14)
    expect(all.filter(({ name, changed }) => events[name].safeParse(changed).success)).toEqual([])
    const good = every(named, ['a', '0', 'constructor', 'con', 'x'.repeat(63), 'pds-2'])
    expect(good.filter(({ name, changed }) => !events[name].safeParse(changed).success)).toEqual([])
  })

  test('a request, a run, a question or a code, it is an id', () => {
    const all = every(ids, badIds)
    expect(new Set(all.map(({ name }) => name)).size).toBeGreaterThan(20)
    expect(all.filter(({ name, changed }) => events[name].safeParse(changed).success)).toEqual([])
    const uuid = '0b6c1d3e-9a55-4f7e-8f0e-9f1a2b3c4d5e'
    const kept = ['01KAZ3V8T9P4M6N2Q1R0S5W7XY', uuid, 'r', '_-V1StGXR8', 'order:42@shop']
    const good = every(ids, kept)
    expect(good.filter(({ name, changed }) => !events[name].safeParse(changed).success)).toEqual([])
  })

  test('a request by the id that onehop has derived from another, it is taken', () => {
    const grown = Array.from({ length: 10 }, (_, index) => `/${'x'.repeat(63)}/${index}/recover`).join('')
    for (const request of ['r1/redis/3/rollback', 'r1/redis/resumed', 'run-1/run-2/on/redis', `r1${grown}`])
      expect(events['mesh/service.retired'].safeParse({ request, service: 'redis' }).success).toBe(true)
  })

  test('an attempt, it is a number from 1', () => {
    for (const attempt of [0, -1, 1.5, '1', Number.NaN, 1e308, '../1'])
      expect(events['mesh/service.rollback.requested'].safeParse({ service: 'redis', attempt }).success).toBe(
        false,
      )
  })
})
