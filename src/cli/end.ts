import { existsSync } from 'node:fs'
import { constants } from 'node:os'

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
export type Signal = (typeof signals)[number]

/** What a shell calls the exit code of a process that a signal has ended. */
export const exitCodeOf = (signal: Signal): number => 128 + constants.signals[signal]

let hear: ((signal: Signal) => void) | undefined

/**
 * `work`, unless a signal comes first: then what `thrown` says of it. A second signal ends the process at once.
 *
 * @throws what `work` and `thrown` give
 */
export function orInterrupted<T>(work: Promise<T>, thrown: (signal: Signal) => Error): Promise<T> {
  const stopped = interrupted().then((signal) => {
    throw thrown(signal)
  })
  return Promise.race([work, stopped]).finally(() => {
    hear = undefined
  })
}

const interrupted = (): Promise<Signal> =>
  new Promise((resolve) => {
    hear = resolve
  })

/**
 * Runs what `start` starts until a signal comes, and closes it then. A signal that comes while it is still starting (it may wait
 * for a lock) does not wait for that.
 */
export async function untilInterrupted(start: () => Promise<{ close(): Promise<void> }>): Promise<void> {
  const stop = interrupted()
  const starting = start()
  const begun = await Promise.race([starting, stop])
  if (typeof begun === 'string') return
  await stop
  await begun.close()
}

/** Takes over how this process is ended from outside: by a signal, or by a reader that is gone (`onehop check | head -2`). */
export function takeOverEnd(): void {
  for (const signal of signals)
    process.on(signal, () => {
      const heard = hear
      hear = undefined
      if (heard) heard(signal)
      else leave(exitCodeOf(signal))
    })
  // What it does must not break off because nobody reads of it any more.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || stream === process.stderr) return
      process.stderr.write(`the answer could not be written: ${error.message}\n`)
      process.exitCode ||= 1
    })
}

/** Writes, and waits until it is out: a slow reader still gets all of it. */
export const print = (stream: NodeJS.WriteStream, text: string): Promise<void> =>
  new Promise((resolve) => {
    stream.write(text, () => resolve())
  })

/** The end of every command, once all that it has written is out. What has not answered in its time is not waited for. */
export async function endProcess(): Promise<never> {
  await Promise.all([print(process.stdout, ''), print(process.stderr, '')])
  return leave(Number(process.exitCode ?? 0))
}

/**
 * `process.exit` waits for the threads that look up names and read files: nobody can end such a call, and a resolver that is
 * silent keeps it for half a minute, a FIFO for ever. Where one is under way, another program takes the place of this one.
 */
function leave(code: number): never {
  const isHeld = process
    .getActiveResourcesInfo?.()
    .some((each) => /^(GetAddrInfo|GetNameInfo|FSReq)/.test(each))
  if (isHeld && process.execve && existsSync(shell)) {
    // Locks are given back and programs ended as on any exit.
    process.emit('exit', code)
    process.execve(shell, ['sh', '-c', `exit ${code}`], {})
  }
  process.exit(code)
}

const shell = '/bin/sh'
