import { Inngest } from 'inngest'
import { z } from 'zod'

/**
 * The client. It has an app id of its own, so that the functions can live beside another app's in one worker.
 * Keys come from files (mesh.yaml) or INNGEST_EVENT_KEY and INNGEST_SIGNING_KEY; nothing here is secret.
 */
export const createClient = ({ url, eventKey, signingKey }: ClientOptions) =>
  new Inngest({
    id: appId,
    baseUrl: url,
    isDev: false,
    ...(eventKey && { eventKey }),
    ...(signingKey && { signingKey }),
  })

export const appId = 'onehop'
export type ClientOptions = { url: string; eventKey?: string | undefined; signingKey?: string | undefined }

const failure = z.object({ code: z.string(), kind: z.string(), message: z.string(), fix: z.string() })
const services = z.array(z.string().min(1)).min(1)

/** Every event, with its schema. The functions check the data themselves, so that a refusal names the path and what was expected. */
export const events = {
  /** Move services (all of mesh.yaml, or those named). */
  'mesh/migration.requested': z.strictObject({ services: services.optional() }),
  /** Install the Tailscale operator, or find that it is there. */
  'mesh/operator.install.requested': z.strictObject({}),
  /** Move one service: a migration of one. */
  'mesh/service.expose.requested': z.strictObject({ service: z.string().min(1) }),
  /** Take back what was done to one service. With `attempt`, only that one; `failure` is why, if it was not a person. */
  'mesh/service.rollback.requested': z.strictObject({
    service: z.string().min(1),
    attempt: z.int().optional(),
    failure: failure.optional(),
  }),
  /** A migration ended; each service with its state. */
  'mesh/migration.completed': z.looseObject({ request: z.string() }),
  /** A migration ended with a service refused or rolled back, or was refused as a whole. */
  'mesh/migration.failed': z.looseObject({ request: z.string() }),
  'mesh/operator.install.completed': z.looseObject({ request: z.string() }),
  'mesh/operator.install.failed': z.looseObject({ request: z.string() }),
  /** A service is moved: it answers on its device name. */
  'mesh/service.expose.completed': z.looseObject({ request: z.string(), service: z.string() }),
  /** A service was not moved; `failure` says why. */
  'mesh/service.expose.failed': z.looseObject({ request: z.string(), service: z.string() }),
  /** A service is as it was before; `failure` says what made that necessary. */
  'mesh/service.rolled-back': z.looseObject({ request: z.string(), service: z.string() }),
  'mesh/service.rollback.failed': z.looseObject({ request: z.string(), service: z.string() }),
} as const

export type EventName = keyof typeof events
