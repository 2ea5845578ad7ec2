import type { Inngest, InngestFunction } from 'inngest'
import { messageOf } from './errors.ts'
import { hasEnded, inTime } from './in-time.ts'
import { keepConnected } from './keep-connected.ts'
import { keepRegistered } from './keep-registered.ts'
import type { EngineLink } from './metrics.ts'
import type { Register } from './registration.ts'
import type { Setup } from './setup.ts'
import { watchPaths, watchPolicy, watchRequests } from './watch.ts'

/**
 * What a worker does beside answering the engine: it holds the state folder (one worker for each: it looks after lost runs,
 * and two would do so twice), tells the engine of its functions, takes up lost runs, and goes on proving what is moved.
 * With engine.serveOrigin the engine calls the process there, at worker.path; without, it is dialled.
 *
 * @throws OnehopError mesh-unreadable, mesh-invalid; journal-locked, naming the other worker
 */
export async function attend({
  client,
  functions,
  registration,
  setup,
  link,
  log,
}: Options): Promise<Worker> {
  const { engine } = await setup.mesh()
  const stop = new AbortController()
  const { signal } = stop
  const release = await holdFolder({ setup, signal, log })
  const watch = { setup, signal, log }
  const attached = registration
    ? keepRegistered({
        engine: engine.url,
        register: registration.create(signal),
        endpoint: registration.endpoint,
        link,
        signal,
        log,
      })
    : keepConnected({ client, functions, link, signal, log })
  const watching = [
    // An engine that is silent would hold up the very recovery that can do without it.
    watchRequests({ ...watch, send: (event) => inTime(sendDeadline, () => client.send(event)) }),
    watchPaths(watch),
    watchPolicy(watch),
  ]
  return {
    async close() {
      stop.abort()
      if (!(await hasEnded(closeDeadline, Promise.all([attached, ...watching]))))
        log('what is still under way is left to the next start, as after a crash')
      await release()
    },
  }
}

/** Milliseconds for the engine to take an event. */
const sendDeadline = 10_000

/** Milliseconds that a step in progress is given to end: whoever stops a worker kills it soon after. */
export const closeDeadline = 2000

/** `close` ends within some seconds, whatever is under way, and gives the state folder back. */
export type Worker = { close(): Promise<void> }
type Log = (line: string) => void
type Options = {
  client: Inngest
  functions: InngestFunction.Any[]
  /** With engine.serveOrigin: where the engine is to call the functions, and what registers them there. */
  registration?: { endpoint: string; create: (signal: AbortSignal) => Register } | undefined
  setup: Setup
  link: EngineLink
  log: Log
}

/** A hold that was lost (this machine slept) is taken again; the other worker that has it by then goes on alone. */
async function holdFolder({ setup, signal, log }: { setup: Setup; signal: AbortSignal; log: Log }) {
  const journal = await setup.journal()
  let release: (() => Promise<void>) | undefined
  const take = async () => {
    release = await journal.hold('worker', () => {
      release = undefined
      if (!signal.aborted) take().catch((thrown: unknown) => log(messageOf(thrown)))
    })
  }
  await take()
  return async () => release?.()
}
