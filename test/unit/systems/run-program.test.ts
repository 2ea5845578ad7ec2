import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readInTime } from '../../../src/disk.ts'
import { NoAnswer } from '../../../src/in-time.ts'
import { runProgram } from '../../../src/systems/run-program.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-program-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** One that has ended, and that nobody has waited for yet, is no longer running. */
const isRunning = (pid: number) =>
  !['', 'Z'].includes(
    spawnSync('ps', ['-o', 'state=', '-p', String(pid)])
      .stdout.toString()
      .trim()
      .slice(0, 1),
  )

test.for([
  ['that tells something', { deadline: 300 }],
  ['that writes', { deadline: 300, writes: true }],
] as const)('a program %s is given up, and what it has started ends with it', async ([, asked]) => {
  const script = `trap '' TERM; sleep 600 & echo $! > ${folder}/pid; wait; sleep 600`
  await expect(runProgram('sh', ['-c', script], asked)).rejects.toThrow(NoAnswer)
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'))
  await expect.poll(() => isRunning(pid)).toBe(false)
})

test('one that writes is asked to end first', async () => {
  const script = `trap 'echo asked > ${folder}/asked; exit 0' TERM; sleep 600 & wait`
  await expect(runProgram('sh', ['-c', script], { deadline: 300, writes: true })).rejects.toThrow(NoAnswer)
  expect(readFileSync(join(folder, 'asked'), 'utf8')).toBe('asked\n')
})

test('one that fails, and one that is not there, say how', async () => {
  expect(await runProgram('sh', ['-c', 'echo why >&2; exit 3'])).toMatchObject({
    failed: true,
    exitCode: 3,
    stderr: 'why',
  })
  expect(await runProgram('no-such-program', [])).toMatchObject({
    failed: true,
    exitCode: undefined,
    message: expect.stringContaining('ENOENT'),
  })
})

test('what it reads, and that it waits for no terminal', async () => {
  expect(await runProgram('cat', [], { input: 'values' })).toMatchObject({ failed: false, stdout: 'values' })
  expect(await runProgram('cat', [])).toMatchObject({ failed: false, stdout: '' })
})

test('a FIFO is read to its end, once it has a writer', async () => {
  const fifo = join(folder, 'fifo')
  execFileSync('mkfifo', [fifo])
  const reading = readInTime(fifo)
  await runProgram('sh', ['-c', `printf secret > ${fifo}`])
  expect(String(await reading)).toBe('secret')
})
