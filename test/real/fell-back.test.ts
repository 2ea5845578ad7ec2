import { afterAll, beforeAll, expect, test } from 'vitest'
import { proveFrom } from '../../sandbox/prove-from.ts'
import { caddyfile, entryOf, onehop, read, waitFor, world } from './panda.ts'
import { impatient, whole } from './under-way.ts'

let before: Awaited<ReturnType<typeof whole>>
let patience: Disposable

beforeAll(async () => {
  await onehop('operator', 'install')
  before = await whole()
  patience = impatient(15)
})
afterAll(async () => {
  await operator(1)
  patience[Symbol.dispose]()
})

const operator = (replicas: number) =>
  world.kubectl(['-n', 'tailscale', 'scale', 'deployment/operator', `--replicas=${replicas}`])
const proxies = ['-l', 'tailscale.com/parent-resource=qdrant']
const url = 'https://panda.tail7af24.ts.net:6443/instance'

test('a device that dies after the move: Caddy goes back to the port map by itself, and says so', async () => {
  await onehop('expose', 'qdrant')
  await operator(0)
  await world.kubectl(['-n', 'tailscale', 'delete', 'statefulset', ...proxies])
  await waitFor('the fall back', () => entryOf('qdrant')?.fellBack !== undefined, 60)
  expect(read(caddyfile)).toBe(before.caddyfile)
  // The reload may reset a connection that comes in at that very moment.
  const isAnswered = async () => (await proveFrom(world.clanker, [url])).every((each) => each.ok)
  await waitFor('the old URL to answer', isAnswered, 10)
  const { envelope } = await onehop('status')
  const qdrant = envelope.result?.services?.find((each) => each.name === 'qdrant') as unknown as {
    paths: Array<{ device?: string }>
  }
  expect(qdrant).toMatchObject({ state: 'moved', failure: { code: 'device-fell-silent' } })
  expect(qdrant.paths.every((path) => path.device === undefined)).toBe(true)
  const drift = (await onehop('drift')).envelope.result as unknown as { drifts: Array<{ kind: string }> }
  expect(drift.drifts.map(({ kind }) => kind)).toContain('fell-back')
})

test('and is taken back or moved again like any other', async () => {
  await operator(1)
  await waitFor('the device', async () => (await onehop('expose', 'qdrant')).envelope.ok, 120)
  expect(entryOf('qdrant')).not.toHaveProperty('fellBack')
  expect(read(caddyfile)).toContain('qdrant.tail7af24.ts.net:6333')
  await onehop('rollback', 'qdrant')
  expect(await whole()).toEqual(before)
})
