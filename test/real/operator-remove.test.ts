import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import type { RequestRecord } from '../../src/journal-records.ts'
import { getNames as get, leftovers, none, ownDevices } from './operator-leftovers.ts'
import { onehop, read, requestOf, sendEvent, waitFor, world, writesByUs } from './panda.ts'
import { impatient } from './under-way.ts'

beforeEach(async () => {
  expect((await onehop('operator', 'install')).envelope.error).toBeNull()
})
afterAll(() => onehop('operator', 'install'))

const remove = async () => (await onehop('operator', 'remove')).envelope

test('while a service is moved it is refused, and stays as it is', async () => {
  await onehop('expose', 'typesense')
  const writes = writesByUs()
  expect((await remove()).error).toMatchObject({
    code: 'operator-in-use',
    message: expect.stringContaining('typesense (moved)'),
  })
  expect(writesByUs()).toEqual(writes)
  expect(await get('-n', 'tailscale', 'deployment', 'operator')).not.toBe('')
  expect((await onehop('rollback', 'typesense')).envelope.result).toMatchObject({ state: 'restored' })
})

test('while a Service that somebody exposed by hand is there, it is refused too', async () => {
  await world.kubectl(['-n', 'joelclaw', 'create', 'service', 'clusterip', 'by-hand', '--tcp=80'])
  try {
    // Without a tag the operator asks for tag:k8s, which this policy does not define.
    const byHand = ['tailscale.com/expose=true', 'tailscale.com/tags=tag:svc-qdrant']
    await world.kubectl(['-n', 'joelclaw', 'annotate', 'service', 'by-hand', ...byHand])
    expect((await remove()).error).toMatchObject({
      code: 'operator-in-use',
      message: expect.stringContaining('Service joelclaw/by-hand'),
    })
  } finally {
    // Taken away before its pod has said which device it is, that device would stay on the tailnet for ever.
    await waitFor('its device', async () => {
      const of = ['-l', 'tailscale.com/parent-resource=by-hand', '-o', 'jsonpath={.items[*].data.device_id}']
      return (await world.kubectl(['-n', 'tailscale', 'get', 'secrets', ...of])) !== ''
    })
    await world.kubectl(['-n', 'joelclaw', 'delete', 'service', 'by-hand', '--wait'])
  }
})

test("an operator whose Secret is not onehop's is refused", async () => {
  const label = (value: string) =>
    world.kubectl([
      '-n',
      'tailscale',
      'label',
      'secret',
      'operator-oauth',
      `app.kubernetes.io/managed-by${value}`,
    ])
  await label('-')
  try {
    expect((await remove()).error?.code).toBe('operator-not-ours')
  } finally {
    await label('=onehop')
  }
})

test('it goes without a trace, its device deleted by its own client; a second time there is nothing to do', async () => {
  const [id] = await ownDevices()
  expect(await remove()).toMatchObject({
    error: null,
    result: { state: 'removed', changed: true, notes: [] },
  })
  expect(await leftovers()).toEqual(none)
  const calls = read(join(world.folder, 'logs/tailscale-api.jsonl'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { client: string; method: string; path: string })
  const deletion = calls.find((each) => each.method === 'DELETE' && each.path === `/api/v2/device/${id}`)
  expect(deletion?.client).toBe('operator')
  const writes = writesByUs()
  expect(await remove()).toMatchObject({ error: null, result: { state: 'removed', changed: false } })
  expect(writesByUs()).toEqual(writes)
})

test('after it was removed it can be installed anew, and serves; with --operator it goes after the last service', async () => {
  await remove()
  expect((await onehop('expose', 'typesense')).envelope.error).toBeNull()
  const { envelope } = await onehop('rollback', '--all', '--operator')
  expect(envelope).toMatchObject({
    error: null,
    result: {
      services: [{ service: 'typesense', state: 'restored' }],
      operator: { state: 'removed', changed: true },
    },
  })
  expect(await leftovers()).toEqual(none)
  const { envelope: again } = await onehop('rollback', '--all', '--operator')
  expect(again).toMatchObject({ error: null, result: { services: [], operator: { changed: false } } })
  expect((await onehop('rollback', 'typesense', '--operator')).envelope.error?.code).toBe('flag-invalid')
})

test('a namespace that holds something of somebody else stays, until it does not', async () => {
  await world.kubectl(['-n', 'tailscale', 'create', 'configmap', 'mine'])
  const { result } = await remove()
  expect(result).toMatchObject({ notes: ['namespace tailscale stays: it holds ConfigMap mine'] })
  expect(await get('-n', 'tailscale', 'configmap', 'mine')).toBe('configmap/mine')
  await world.kubectl(['-n', 'tailscale', 'delete', 'configmap', 'mine'])
  expect((await remove()).result).toMatchObject({ changed: true, notes: [] })
  expect(await leftovers()).toEqual(none)
})

test('a namespace that was there before onehop stays', async () => {
  await remove()
  await world.kubectl(['create', 'namespace', 'tailscale'])
  await onehop('operator', 'install')
  expect((await remove()).result).toMatchObject({
    state: 'removed',
    notes: [expect.stringContaining('it was there before onehop came')],
  })
  expect(await leftovers()).toEqual({ ...none, namespace: 'namespace/tailscale' })
  await world.kubectl(['delete', 'namespace', 'tailscale', '--wait'])
})

// A minute each: all of them with ONEHOP_ALL_PHASES.
const parts = process.env.ONEHOP_ALL_PHASES ? ['proxy-class', 'helm', 'secrets', 'namespace'] : ['helm']
test.for(parts)('a worker that dies at "%s" leaves what a second run takes up', async (part) => {
  // The engine may take minutes to notice a dead worker; onehop's own deadline is what counts.
  using _ = impatient(10)
  const id = randomUUID()
  const phases = ['proxy-class', 'helm', 'device', 'secrets', 'namespace']
  await sendEvent(id, 'mesh/operator.remove.requested', {})
  await waitFor(`the phase ${part}`, () => {
    const { state, phase = '' } = (requestOf(id) as RequestRecord | undefined) ?? {}
    const at = phases.findIndex((each) => phase.startsWith(`operator/${each}:`))
    return at >= phases.indexOf(part) || (state !== undefined && state !== 'running')
  })
  await world.server('worker').kill()
  await world.server('worker').start()
  await waitFor('a second run', async () => (await onehop('operator', 'remove')).envelope.ok, 90)
  expect(await leftovers()).toEqual(none)
  // The first run is taken up again by the engine, or was given up; it stands in nobody's way.
  await waitFor('the first run', () => requestOf(id)?.state !== 'running', 150)
  expect(await leftovers()).toEqual(none)
})
