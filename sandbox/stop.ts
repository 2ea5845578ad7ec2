import { isatty } from 'node:tty'

export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Whether we were started at a person's terminal: asked at once, because one that is gone no longer counts as one.
 * Without it SIGHUP asks for nothing: `nohup` redirects all three streams and ignores the signal, and Node takes the
 * latter back when it starts.
 */
export const hasTerminal = [0, 1, 2].some((stream) => isatty(stream))

/**
 * Waits until the process is asked to stop. A signal handler alone does not keep Node alive, and stdin does so only
 * while it is a live terminal.
 */
export function untilStopped(): Promise<void> {
  const alive = setInterval(() => {}, 1 << 30)
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      if (signal === 'SIGHUP' && !hasTerminal) return
      clearInterval(alive)
      resolve()
    }
    // For good: a second Ctrl-C, or npm's copy of the first, must not cut the end short.
    for (const signal of stopSignals) process.on(signal, stop)
  })
}
