import { expect, test } from 'vitest'
import { caddyfile, entryOf, onehop, read, serviceDevices, waitFor, world } from './panda.ts'

// An API server that is stopped still takes connections, and never answers.
const answerWithin = 30_000

/** Runs a command, and says how long it took, to the end of its process. */
async function timed(...args: string[]) {
  const started = Date.now()
  const { envelope } = await onehop(...args)
  return { command: args.join(' '), envelope, took: Date.now() - started }
}

test('with the API server silent every command answers, and rollback --local leads Caddy back', async () => {
  const first = read(caddyfile)
  const moved = await onehop('migrate', 'qdrant', 'livekit', '--yes')
  expect(moved.envelope.error).toBeNull()
  const pid = world.server('kube-apiserver').pid() ?? 0
  process.kill(pid, 'SIGSTOP')
  try {
    for (const args of [['plan'], ['check'], ['drift'], ['status']]) {
      const { command, took } = await timed(...args)
      expect(took, command).toBeLessThan(answerWithin)
    }
    // One by the worker, as a person asks for it, and one without.
    for (const [service, ...flags] of [['livekit'], ['qdrant', '--local']] as const) {
      const { command, envelope, took } = await timed('rollback', service, ...flags)
      expect(took, command).toBeLessThan(answerWithin)
      expect(envelope.error?.code).toBe('kubernetes-unreachable')
      expect(envelope.result).toMatchObject({ undone: ['switch'], standing: ['allow', 'expose'] })
      expect(entryOf(service)?.state).toBe('rollback-incomplete')
    }
    expect(read(caddyfile)).toBe(first)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await waitFor('the API server', async () => (await world.kubectl(['get', '--raw', '/readyz'])) === 'ok')
  const { envelope } = await timed('rollback', '--all', '--local')
  expect(envelope.error).toBeNull()
  for (const service of ['livekit', 'qdrant']) expect(entryOf(service)?.state).toBe('restored')
  expect(read(caddyfile)).toBe(first)
  expect(await serviceDevices()).toEqual([])
})
