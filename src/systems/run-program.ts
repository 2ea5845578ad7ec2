import { execa } from 'execa'
import { NoAnswer } from '../in-time.ts'

/** How long a program may take that only tells something. */
const programDeadline = 10_000

/** How long one that writes may take to end once it was asked to. */
const grace = 2000

/**
 * The one way in which onehop runs another program: without a terminal, in a process group of its own. After `deadline` the
 * whole group is killed, so that what the program has started itself cannot hold on to its output. What still runs when this
 * process ends is killed as well.
 *
 * @returns what it wrote and how it ended, also where it failed
 * @throws NoAnswer after `deadline`
 */
export async function runProgram(file: string, args: string[], asked: Run = {}): Promise<Ran> {
  const { deadline = programDeadline, writes = false, input, env } = asked
  const child = execa(file, args, {
    reject: false,
    detached: true,
    cleanup: false,
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    ...(env && { env }),
  })
  const group: Group = { pid: child.pid, signal: writes ? 'SIGTERM' : 'SIGKILL' }
  running.add(group)
  const timers: NodeJS.Timeout[] = []
  const late = new Promise<undefined>((resolve) => {
    const after = (milliseconds: number, work: () => void) => timers.push(setTimeout(work, milliseconds))
    after(deadline, () => {
      kill(group)
      if (!writes) return resolve(undefined)
      group.signal = 'SIGKILL'
      after(grace, () => {
        kill(group)
        resolve(undefined)
      })
    })
  })
  try {
    const result = await Promise.race([child, late])
    if (result === undefined || group.killed) throw new NoAnswer(deadline)
    const { failed, exitCode, stdout = '', stderr = '', shortMessage = '' } = result
    return { failed, exitCode, stdout: String(stdout), stderr: String(stderr), message: shortMessage }
  } finally {
    for (const timer of timers) clearTimeout(timer)
    running.delete(group)
    child.stdout?.destroy()
    child.stderr?.destroy()
  }
}

export type Run = {
  /** Milliseconds; 10 s if not said. */
  deadline?: number
  /** Whether it changes something: then it is asked to end (SIGTERM), and killed only two seconds later. */
  writes?: boolean
  /** What it reads; without it, nothing. */
  input?: string
  env?: Record<string, string>
}

/** `exitCode` is absent where it could not be started or a signal has ended it; `message` says how it failed. */
export type Ran = {
  failed: boolean
  exitCode: number | undefined
  stdout: string
  stderr: string
  message: string
}

type Group = { pid: number | undefined; signal: 'SIGTERM' | 'SIGKILL'; killed?: boolean }

const running = new Set<Group>()
process.on('exit', () => running.forEach(kill))

function kill(group: Group): void {
  group.killed = true
  try {
    if (group.pid !== undefined) process.kill(-group.pid, group.signal)
  } catch {
    // It has ended by itself.
  }
}
