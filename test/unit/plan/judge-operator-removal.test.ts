import { expect, test } from 'vitest'
import type { Entry, RequestRecord } from '../../../src/journal-records.ts'
import { isRemoved, judgeOperatorRemoval, type Looked } from '../../../src/plan/judge-operator-removal.ts'

const objects: Looked['objects'] = {
  namespace: 'ours',
  secret: 'ours',
  proxyClass: 'ours',
  running: true,
  kindsGoing: false,
  deviceIds: ['n1'],
}
const nothing: Looked['objects'] = {
  namespace: 'none',
  secret: 'none',
  proxyClass: 'none',
  running: false,
  kindsGoing: false,
  deviceIds: [],
}
const entry = (state: Entry['state'], cluster = 'c'): Entry => ({
  version: 1, service: 'redis', attempt: 1, state, request: 'r', run: 'r', cluster, tailnet: 'a.ts.net',
  changes: [], ended: {},
}) // biome-ignore format: one record
const request = (more: Partial<RequestRecord>): RequestRecord => ({
  version: 1, id: 'other', event: 'mesh/migration.requested', data: {}, run: 'r', state: 'running',
  startedAt: '', deadline: '', ...more,
}) // biome-ignore format: one record
const judge = (more: Partial<Looked> = {}) =>
  judgeOperatorRemoval({
    ...{
      namespace: 'tailscale',
      cluster: 'c',
      request: 'mine',
      objects,
      users: [],
      entries: [],
      requests: [],
    },
    ...more,
  })

test('an operator of ours that nothing needs may go, and so may what an earlier removal has left', () => {
  expect(judge({ entries: [entry('restored', 'another')] })).toBeUndefined()
  expect(judge({ objects: { ...nothing, namespace: 'ours' } })).toBeUndefined()
  expect(judge({ objects: { ...objects, running: false } })).toBeUndefined()
})

test.each<[title: string, more: Partial<Looked>, code: string, says: string]>([
  ['a moved service', { entries: [entry('moved')] }, 'operator-in-use', 'redis (moved)'],
  ['a rollback that did not finish', { entries: [entry('rollback-incomplete')] }, 'operator-in-use', 'redis'],
  ['a Service exposed by hand', { users: ['Service apps/pds'] }, 'operator-in-use', 'Service apps/pds'],
  [
    'the Secret of somebody else',
    { objects: { ...objects, secret: 'other' } },
    'operator-not-ours',
    'tailscale',
  ],
  [
    'an operator without a Secret of ours',
    { objects: { ...objects, secret: 'none' } },
    'operator-not-ours',
    '',
  ],
  ['another cluster', { entries: [entry('moved', 'another')] }, 'cluster-changed', 'another'],
  [
    'a rollback of several under way',
    { requests: [request({ event: 'mesh/rollback.requested' })] },
    'request-in-progress',
    'other',
  ],
  ['a migration under way', { requests: [request({ phase: 'plan' })] }, 'request-in-progress', 'other'],
])('%s keeps it', (_, more, code, says) => {
  expect(judge(more)).toMatchObject({ code, message: expect.stringContaining(says) })
})

test('neither its own request nor one that has ended keeps it', () => {
  const requests = [
    request({ id: 'mine', event: 'mesh/operator.remove.requested' }),
    request({ state: 'completed' }),
  ]
  expect(judge({ requests })).toBeUndefined()
})

test('many users are counted, not listed', () => {
  const users = Array.from({ length: 10 }, (_, index) => `Service apps/s${index}`)
  expect(judge({ users })?.message).toContain('Service apps/s7 and 2 more')
})

test('it is removed when nothing of ours is left, whatever others have there', () => {
  expect(isRemoved(nothing)).toBe(true)
  expect(isRemoved({ ...nothing, namespace: 'other' })).toBe(true)
  for (const part of ['namespace', 'secret', 'proxyClass'])
    expect(isRemoved({ ...nothing, [part]: 'ours' })).toBe(false)
})
