import { Hono } from 'hono'
import type { InngestFunction } from 'inngest'
import { serve } from 'inngest/hono'
import { type ClientOptions, createClient } from '../inngest.config.ts'

/**
 * What tells the engine of the functions, and where it is to call them: at `endpoint`, and nowhere else. The SDK
 * registers when its handler is asked by PUT, and takes the address from that request, its headers and its query. So this
 * handler listens nowhere: only the worker asks it.
 *
 * The call to the engine has a deadline, and ends with `signal`.
 */
export function createRegistration({ client, functions, endpoint, signal }: Options): Register {
  const registering = createClient({
    ...client,
    fetch: (input, init) =>
      fetch(input, { ...init, signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]) }),
  })
  const { origin, pathname } = new URL(endpoint)
  const handler = new Hono().put(
    '*',
    serve({
      client: registering,
      functions,
      serveOrigin: origin,
      servePath: pathname,
      enableUnauthedSync: true,
    }),
  )
  return async () => handler.request(endpoint, { method: 'PUT' })
}

/** Registers once; the answer is the engine's, or the SDK's for it. */
export type Register = () => Promise<Response>
type Options = {
  client: ClientOptions
  functions: InngestFunction.Any[]
  endpoint: string
  signal: AbortSignal
}
