import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onehop, read, requestOf, sendEvent, serviceOwned, waitFor, world, writesByUs } from './panda.ts'

const file = join(world.panda.home, 'plan.json')
const kubectl = (...args: string[]) => world.kubectl(['-n', 'joelclaw', ...args])
const service = async (name: string) =>
  (await onehop('status')).envelope.result?.services?.find((each) => each.name === name)

type Planned = { problems: unknown[]; changes: number; services: Array<{ problems: unknown[] }> }
const problemsIn = (result: unknown) => {
  const { problems, changes, services } = result as Planned
  return { problems: [...problems, ...services.flatMap((each) => each.problems)], changes }
}

let before: unknown
beforeAll(async () => {
  await onehop('operator', 'install')
  before = await serviceOwned('typesense')
})

afterAll(async () => {
  await onehop('rollback', 'typesense', '--local')
})

test('a plan is saved for its owner, says by its exit code that there are changes, and touches nothing', async () => {
  const writes = writesByUs()
  const { envelope, exitCode } = await onehop('plan', 'typesense', '--out', file, '--detailed-exitcode')
  expect({ exitCode, ok: envelope.ok, error: envelope.error }).toEqual({ exitCode: 2, ok: true, error: null })
  expect(envelope.result).toMatchObject({ blocked: 0, hash: JSON.parse(read(file)).hash })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(writesByUs()).toEqual(writes)
})

test('a plan whose world has moved since is refused, what moved is named, and nothing is written', async () => {
  await kubectl('annotate', 'service', 'typesense', 'tailscale.com/hostname=search')
  const writes = writesByUs()
  const { envelope, exitCode } = await onehop('migrate', '--plan', file)
  expect(exitCode).toBe(1)
  expect(envelope.error?.code).toBe('plan-moved')
  expect((envelope.result as unknown as { moved: string[] }).moved).toEqual([
    'Service joelclaw/typesense: annotation tailscale.com/hostname (none) -> search (kubectl-annotate)',
  ])
  // An event with the hash alone: the worker looks for itself.
  await sendEvent('plan-by-event', 'mesh/migration.requested', {
    services: ['typesense'],
    plan: JSON.parse(read(file)).hash,
  })
  await waitFor('the refusal', () => requestOf('plan-by-event')?.state === 'refused')
  expect(requestOf('plan-by-event')?.failure?.code).toBe('plan-moved')
  expect(writesByUs()).toEqual(writes)
  await kubectl('annotate', 'service', 'typesense', 'tailscale.com/hostname-')
})

test('a plan that somebody has changed is refused', async () => {
  const other = join(world.panda.home, 'other-plan.json')
  writeFileSync(other, read(file).replaceAll('"typesense"', '"redis"'))
  const { envelope, exitCode } = await onehop('migrate', '--plan', other)
  expect({ exitCode, code: envelope.error?.code }).toEqual({ exitCode: 2, code: 'plan-invalid' })
})

test('with the world as it was, only what the plan names is moved, and then nothing is left to do', async () => {
  const { envelope } = await onehop('migrate', '--plan', file)
  expect(envelope).toMatchObject({ ok: true, result: { services: [{ name: 'typesense', state: 'moved' }] } })
  expect((await service('redis'))?.state).not.toBe('moved')
  const { exitCode, envelope: settled } = await onehop('plan', 'typesense', '--detailed-exitcode')
  expect({ exitCode, ...problemsIn(settled.result) }).toEqual({ exitCode: 0, problems: [], changes: 0 })
  expect((await onehop('migrate', '--plan', file)).envelope.error?.code).toBe('plan-moved')
  await onehop('rollback', 'typesense')
  expect(await serviceOwned('typesense')).toEqual(before)
})
