import { expect, test } from 'vitest'
import { caddyfile, entryOf, onehop, read, waitFor } from './panda.ts'
import { renameClanker } from './stagings.ts'

test('of two services in one wave, the one that fails is rolled back alone and the other stays moved', async () => {
  await onehop('operator', 'install')
  const earlier = entryOf('livekit')?.attempt ?? 0
  const running = onehop('migrate', 'qdrant', 'livekit', '--yes')
  await waitFor('livekit to be under way', () => (entryOf('livekit')?.attempt ?? 0) > earlier)
  await renameClanker('livekit')
  const { envelope, exitCode } = await running
  await renameClanker('clanker-001')
  const states = envelope.result?.services?.map(({ name, state, failure }) => [name, state, failure?.code])
  expect(states).toEqual([
    ['qdrant', 'moved', undefined],
    ['livekit', 'restored', 'name-not-given'],
  ])
  expect(exitCode).toBe(3)
  expect(read(caddyfile)).toContain('reverse_proxy qdrant.tail7af24.ts.net:6333')
  expect(read(caddyfile)).toContain('reverse_proxy   localhost:7880')
  expect((await onehop('rollback', 'qdrant')).envelope.result).toMatchObject({ state: 'restored' })
})
