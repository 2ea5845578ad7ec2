import { messageOf } from './errors.ts'
import { recoverLost } from './functions/recover.ts'
import type { Setup } from './setup.ts'
import { takeBackUnconfirmed } from './steps/narrow-policy.ts'
import { sampleUsage } from './steps/sample-usage.ts'
import { watchMoved } from './steps/watch-moved.ts'
import type { Sent } from './systems/engine.ts'

/**
 * Looks after what nobody carries on, at once and then every few seconds, for as long as the worker runs: an engine that
 * forgets its runs says nothing of it, and one that is gone for good runs no cron.
 */
export async function watchRequests({ setup, send, signal, log }: Watch): Promise<void> {
  while (!signal.aborted) {
    try {
      for (const { service, by } of await recoverLost(setup, send))
        log(`${service}: its run was lost; taken up by ${by}`)
    } catch (thrown) {
      log(`cannot look for lost runs: ${messageOf(thrown)}`)
    }
    const seconds = await setup.mesh().then(
      ({ engine }) => Math.min(15, engine.patience / 4),
      () => 15,
    )
    await pause(seconds * 1000, signal)
  }
}

/** Takes a narrowed policy back that nobody has confirmed in time, also when the engine that narrowed it is gone. */
export async function watchPolicy({ setup, signal, log }: Omit<Watch, 'send'>): Promise<void> {
  let said = ''
  while (!signal.aborted) {
    try {
      if (await takeBackUnconfirmed(setup)) log('the narrowed policy was not confirmed in time: taken back')
    } catch (thrown) {
      const message = `cannot take the narrowed policy back: ${messageOf(thrown)}`
      if (message !== said) log(message)
      said = message
    }
    await pause(2000, signal)
  }
}

/** Goes on proving what is moved, every `watch.every` seconds. */
export async function watchPaths({ setup, signal, log }: Omit<Watch, 'send'>): Promise<void> {
  const silent = new Map<string, number>()
  while (!signal.aborted) {
    try {
      for (const { service, message } of await watchMoved(setup, silent)) log(`${service}: ${message}`)
    } catch (thrown) {
      log(`cannot prove what is moved: ${messageOf(thrown)}`)
    }
    const seconds = await setup.mesh().then(
      ({ watch }) => watch.every,
      () => 30,
    )
    await pause(seconds * 1000, signal)
  }
}

/** Goes on looking who uses the old paths of what is moved, every `retire.every` seconds: a gap makes the wait begin anew. */
export async function watchUsage({ setup, signal, log }: Omit<Watch, 'send'>): Promise<void> {
  let said = ''
  while (!signal.aborted) {
    try {
      await sampleUsage(setup, [process.pid])
    } catch (thrown) {
      const message = `cannot see who uses the old paths: ${messageOf(thrown)}`
      if (message !== said) log(message)
      said = message
    }
    const seconds = await setup.mesh().then(
      ({ retire }) => retire.every,
      () => 5,
    )
    await pause(seconds * 1000, signal)
  }
}

/** Waits, but no longer than until `signal`. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds)
    const stop = () => {
      clearTimeout(timer)
      resolve()
    }
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
  })
}

export const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })

type Watch = {
  setup: Setup
  send: (event: Sent) => Promise<unknown>
  signal: AbortSignal
  log: (line: string) => void
}
