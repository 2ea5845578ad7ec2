import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  type ErrorCode,
  errorTable,
  fromFailure,
  messageOf,
  OnehopError,
  toOnehopError,
} from '../../src/errors.ts'

test('an error fills the details into its message and its cure', () => {
  const error = new OnehopError('service-unknown', { service: 'redsi', known: 'redis, qdrant' })
  expect(error.message).toBe('mesh.yaml has no service named "redsi"; it has redis, qdrant')
  expect(new OnehopError('helm-failed', { namespace: 'tailscale', release: 'op' }).fix).toBe(
    'helm -n tailscale history op',
  )
})

test('an error comes back from plain data as it was', () => {
  const error = new OnehopError('port-silent', { name: 'redis.t.net', port: 6379, message: 'no answer' })
  const back = fromFailure(JSON.parse(JSON.stringify(error)))
  expect(back).toBeInstanceOf(OnehopError)
  expect(back.toJSON()).toEqual(error.toJSON())
})

test('anything else that is thrown becomes "internal", with its cause', () => {
  const thrown = new TypeError('x is undefined')
  expect(toOnehopError(thrown)).toMatchObject({ code: 'internal', kind: 'system', cause: thrown })
  expect(toOnehopError('a string').message).toBe('a string')
  expect(toOnehopError({ status: 418 }).message).toBe('{"status":418}')
  const coded = new OnehopError('name-taken')
  expect(toOnehopError(coded)).toBe(coded)
})

test('a network error is told in words, also when they stand only in its cause', () => {
  expect(messageOf(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }))).toBe('ECONNREFUSED')
  expect(messageOf(new AggregateError([new Error('first'), new Error('second')]))).toBe('first')
  expect(messageOf(new Error(''))).toBe('Error')
  expect(messageOf({ code: 'E' })).toBe('{"code":"E"}')
})

test('every code that the source throws is in the table', () => {
  const thrown = sourceFiles().flatMap((text) =>
    [...text.matchAll(/(?:new OnehopError|problem)\(\s*'([a-z-]+)'/g)].map(([, code]) => code as ErrorCode),
  )
  expect(thrown.length).toBeGreaterThan(50)
  expect([...new Set(thrown)].filter((code) => !(code in errorTable))).toEqual([])
})

test('a detail of a cure stands in braces and nowhere else', () => {
  for (const { message, fix } of Object.values(errorTable))
    for (const text of [message, fix]) expect(text.replace(/\{[a-zA-Z]+\}/g, '')).not.toMatch(/[{}]/)
})

function sourceFiles(): string[] {
  const source = join(import.meta.dirname, '../../src')
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
    .map((file) => readFileSync(join(source, file), 'utf8'))
}
