import { Hono } from 'hono'
import type { InngestFunction } from 'inngest'
import { serve } from 'inngest/hono'
import { type ClientOptions, createClient } from '../inngest.config.ts'

/**
 * Makes the call that registers the functions with the engine, to be called at `endpoint` and nowhere else. The SDK registers
 * when its handler gets a PUT, and takes parts of the address from that request and its query. So this handler is not
 * reachable from outside: only the worker itself passes it a request.
 *
 * The call to the engine ends after 10 s, or with `signal`.
 */
export function createRegistration({ client, functions, endpoint, signal }: Options): Register {
  const registering = createClient({
    ...client,
    fetch: (input, init) =>
      // biome-ignore lint/style/noRestrictedGlobals: the SDK wants a fetch, and this one has its deadline in the signal
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

/** Registers once. @returns the SDK's response, with the engine's status and message */
export type Register = () => Promise<Response>
type Options = {
  client: ClientOptions
  functions: InngestFunction.Any[]
  endpoint: string
  signal: AbortSignal
}
