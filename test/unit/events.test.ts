import { describe, expect, test } from 'vitest'
import { type EventName, events } from '../../inngest.config.ts'

const failure = { code: 'name-taken', kind: 'refused', message: 'm', fix: 'f' }
const request = '01J'

const cases: Record<EventName, { good: unknown[]; bad: unknown[] }> = {
  'mesh/migration.requested': {
    good: [{}, { services: ['redis'] }],
    bad: [{ services: [] }, { services: 'redis' }, { services: [''] }, { service: 'redis' }],
  },
  'mesh/operator.install.requested': { good: [{}], bad: [{ version: '1.0.0' }] },
  'mesh/service.expose.requested': {
    good: [{ service: 'redis' }],
    bad: [{}, { service: '' }, { service: 1 }, { service: 'redis', force: true }],
  },
  'mesh/service.rollback.requested': {
    good: [{ service: 'redis' }, { service: 'redis', failure }],
    bad: [{}, { service: 'redis', failure: 'because' }, { service: 'redis', failure: { code: 'x' } }],
  },
  'mesh/migration.completed': { good: [{ request, services: [] }], bad: [{}] },
  'mesh/migration.failed': { good: [{ request, failure }], bad: [{ failure }] },
  'mesh/operator.install.completed': { good: [{ request, changed: true }], bad: [{}] },
  'mesh/operator.install.failed': { good: [{ request, failure }], bad: [{}] },
  'mesh/service.expose.completed': { good: [{ request, service: 'redis' }], bad: [{ request }] },
  'mesh/service.expose.failed': {
    good: [{ request, service: 'redis', failure }],
    bad: [{ service: 'redis' }],
  },
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
