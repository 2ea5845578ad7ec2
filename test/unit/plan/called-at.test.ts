import { expect, test } from 'vitest'
import { endpointOf, isCalledAt } from '../../../src/plan/called-at.ts'

test('the endpoint is serveOrigin with the path at which the app is mounted', () => {
  expect(endpointOf('http://panda:3111', '/onehop')).toBe('http://panda:3111/onehop/api/inngest')
  expect(endpointOf('https://hook.example/', '')).toBe('https://hook.example/api/inngest')
})

const own = 'http://127.0.0.1:3111/api/inngest'
test.each([
  [own, own],
  ['http://localhost:3111/api/inngest', own],
  ['http://localhost:3111/api/inngest?x=y', own],
  ['https://hook.example/api/inngest', 'https://hook.example:443/api/inngest'],
  ['http://localhost/api/inngest', 'http://0.0.0.0:80/api/inngest'],
])('an engine that says %s calls %s', (said, endpoint) => {
  expect(isCalledAt(said, endpoint)).toBe(true)
})

test.each([
  null,
  '',
  'ws://127.0.0.1:3111/api/inngest',
  'http://127.0.0.1:31119/api/inngest',
  'http://127.0.0.1:3111.evil.example/api/inngest',
  'http://127.0.0.1:3111/onehop/api/inngest',
  'https://127.0.0.1:3111/api/inngest',
])('an engine that says %s does not call the worker', (said) => {
  expect(isCalledAt(said, own)).toBe(false)
})
