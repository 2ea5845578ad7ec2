import { describe, expect, test } from 'vitest'
import { type EventName, events } from '../../inngest.config.ts'

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
