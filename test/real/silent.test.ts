import { expect, test } from 'vitest'
import { caddyfile, entryOf, onehop, read, serviceDevices, waitFor, world } from './panda.ts'

// An API server that is stopped still takes connections, and never answers.
const answerWithin = 30_000

/** Runs a command, and says how long it took, to the end of its process. */
async function timed(...args: string[]) {
  const started = Date.now()
  const { envelope, stderr } = await onehop(...args)
  return { command: args.join(' '), envelope, stderr, took: Date.now() - started }
}

test('with the API server silent every command answers, and rollback --local leads Caddy back', async () => {
  const first = read(caddyfile)
  const moved = await onehop('expose', 'qdrant')
  expect(moved.envelope.error).toBeNull()
  const pid = world.server('kube-apiserver').pid() ?? 0
  process.kill(pid, 'SIGSTOP')
  try {
    for (const args of [['plan'], ['check'], ['drift'], ['status']]) {
      const { command, took } = await timed(...args)
      console.log(command, took)
      expect(took, command).toBeLessThan(answerWithin)
    }
    const byWorker = await timed('rollback', 'qdrant')
    console.log('rollback by the worker', byWorker.took, JSON.stringify(byWorker.envelope), byWorker.stderr)
    const here = await timed('rollback', 'qdrant', '--local')
    console.log(here.command, here.took, JSON.stringify(here.envelope), here.stderr)
    expect(here.took).toBeLessThan(answerWithin)
    expect(here.envelope.error?.code).toBe('kubernetes-unreachable')
    expect(read(caddyfile)).toBe(first)
    expect(entryOf('qdrant')).toMatchObject({
      state: 'rollback-incomplete',
      changes: expect.arrayContaining([
        expect.objectContaining({ id: 'switch', undone: true }),
        expect.objectContaining({ id: 'expose', undone: false }),
      ]),
    })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await waitFor('the API server', async () => (await world.kubectl(['get', '--raw', '/readyz'])) === 'ok')
  const again = await timed('rollback', 'qdrant', '--local')
  console.log(again.command, again.took, again.stderr)
  expect(again.envelope.result).toMatchObject({ service: 'qdrant', state: 'restored', standing: [] })
  expect(read(caddyfile)).toBe(first)
  expect(await serviceDevices()).toEqual([])
})
