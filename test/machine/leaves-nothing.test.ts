import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pWaitFor from 'p-wait-for'
import { expect, test } from 'vitest'
import { changedSince, machine, watched } from './machine.ts'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const limit = 170_000

test('a story that ends well leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('succeed')
  expect(await story.ended, story.output.all).toBe(0)
  expect(changedSince(before)).toEqual([])
})

test('a story that fails leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('fail')
  expect(await story.ended).toBe(1)
  expect(story.output.all).toContain('this story fails on purpose')
  expect(changedSince(before)).toEqual([])
})

test('Ctrl-C in the middle leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('wait')
  await story.says('the pod runs')
  expect(changedSince(before)).not.toEqual([]) // else this file would prove nothing
  process.kill(story.pid, 'SIGINT')
  expect(await story.ended).toBe(130)
  expect(changedSince(before)).toEqual([])
})

test('what a kill -9 leaves is gone after the next story', { timeout: limit }, async () => {
  const before = machine()
  const killed = start('wait')
  await killed.says('the pod runs')
  process.kill(killed.pid, 'SIGKILL')
  await killed.ended
  // Its processes, mounts and namespaces are the kernel's to take down, at once; files and cgroups are the next start's.
  await pWaitFor(() => machine().processes.length === before.processes.length, {
    interval: 50,
    timeout: 20_000,
  })
  const next = start('succeed')
  expect(await next.ended, next.output.all).toBe(0)
  expect(changedSince(before)).toEqual([])
})

test('a second sandbox is refused with the process id of the first', { timeout: limit }, async () => {
  const first = start('wait')
  await first.says('the pod runs')
  const second = start('succeed')
  expect(await second.ended).toBe(2)
  expect(second.output.all).toContain(`process ${first.pid}`)
  process.kill(first.pid, 'SIGTERM')
  expect(await first.ended).toBe(143)
})

function start(ending: 'succeed' | 'fail' | 'wait') {
  const args = [
    '--disable-warning=ExperimentalWarning',
    file('../../sandbox/enter.ts'),
    file('./one-pod.ts'),
    ending,
  ]
  return watched(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
}
