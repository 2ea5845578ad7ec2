import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { onehop, requestOf, runStatus, sendEvent, waitFor, writesByUs } from './panda.ts'

test.for([
  {
    title: 'an event for no such service',
    name: 'mesh/service.expose.requested',
    data: { service: 'nosuch' },
    code: 'service-unknown',
    says: 'nosuch',
  },
  {
    title: 'an event with an unknown key',
    name: 'mesh/service.expose.requested',
    data: { service: 'redis', prot: 1 },
    code: 'event-invalid',
    says: 'prot',
  },
  {
    title: 'an event with a wrong type',
    name: 'mesh/migration.requested',
    data: { services: 'redis' },
    code: 'event-invalid',
    says: 'services: ',
  },
  {
    title: 'an event without its service',
    name: 'mesh/service.rollback.requested',
    data: {},
    code: 'event-invalid',
    says: 'service: ',
  },
  {
    title: 'an event whose service is a path out of the state folder',
    name: 'mesh/service.rollback.requested',
    data: { service: '../../outside/secret' },
    code: 'event-invalid',
    says: 'service: expected a DNS label',
  },
])('$title is refused, nothing touched, never retried', async ({ name, data, code, says }) => {
  const writes = writesByUs()
  const id = randomUUID()
  await sendEvent(id, name, data)
  await waitFor('the refusal', () => requestOf(id)?.state === 'refused')
  expect(requestOf(id)?.failure).toMatchObject({ code, message: expect.stringContaining(says) })
  await waitFor('the run to have failed', async () => (await runStatus(requestOf(id)?.run)) === 'FAILED')
  expect(writesByUs()).toEqual(writes)
})

test('a service that mesh.yaml does not have is refused by the CLI with exit code 2', async () => {
  const { exitCode, envelope } = await onehop('rollback', 'nosuch')
  expect({ exitCode, code: envelope.error?.code }).toEqual({ exitCode: 2, code: 'service-unknown' })
})
