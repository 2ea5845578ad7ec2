import { Inngest } from 'inngest'
import { z } from 'zod'
import { dnsLabel, eventId } from './src/names.ts'

/**
 * The client. It has an app id of its own, so that the functions can live beside another app's in one worker; a machine
 * that only probes has one more, or it would take the worker's functions away.
 * Keys come from files (mesh.yaml) or INNGEST_EVENT_KEY and INNGEST_SIGNING_KEY; nothing here is secret.
 */
export const createClient = ({ id = appId, url, eventKey, signingKey, fetch }: ClientOptions) =>
  new Inngest({
    id,
    baseUrl: url,
    isDev: false,
    fetch: fetchInTime,
    ...(eventKey && { eventKey }),
    ...(signingKey && { signingKey }),
    ...(fetch && { fetch }),
  })

/** The SDK's own calls have no deadline: an engine that accepts and is silent would keep each for five minutes. */
const fetchInTime: typeof fetch = (input, init) =>
  fetch(input, {
    ...init,
    signal: AbortSignal.any([AbortSignal.timeout(10_000), ...(init?.signal ? [init.signal] : [])]),
  })

export const appId = 'onehop'
export type ClientOptions = {
  id?: string
  url: string
  eventKey?: string | undefined
  signingKey?: string | undefined
  /** By which the engine is called, if not the runtime's own. */
  fetch?: typeof fetch
}

const failure = z.object({ code: z.string(), kind: z.string(), message: z.string(), fix: z.string() })
const services = z.array(dnsLabel).min(1)
const attempt = z.int().min(1)
const count = z.int().min(0).max(1000)
/** Which question, to whom, about what: the answer says it again. */
const asked = { service: dnsLabel, attempt, vantage: dnsLabel, ask: eventId.max(100) }
/** The least that an event about a request, or about a service of it, carries. */
const ofRequest = z.looseObject({ request: eventId })
const ofService = ofRequest.extend({ service: dnsLabel })

const drift = z.looseObject({
  kind: z.string(),
  subject: z.string(),
  severity: z.enum(['info', 'warning', 'critical']),
  what: z.string(),
  since: z.string(),
})

/** Every event, with its schema. The functions check the data themselves, so that a refusal names the path and what was expected. */
export const events = {
  /** Move services (all of mesh.yaml, or those named). With `plan`, the hash of a plan, only if a plan made now has it too. */
  'mesh/migration.requested': z.strictObject({
    services: services.optional(),
    plan: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'expected the hash of a plan: 64 hexadecimal digits')
      .optional(),
  }),
  /** A long migration goes on in another run. Sent by the migration itself. */
  'mesh/migration.continued': z.strictObject({
    request: eventId,
    run: eventId,
    services,
    done: z.array(z.looseObject({ name: dnsLabel, state: z.string() })),
  }),
  /** Stop running migrations (or the one of `request`): what is not yet moved is rolled back; with `all`, what is moved too. */
  'mesh/migration.abort.requested': z.strictObject({
    request: eventId.optional(),
    all: z.boolean().optional(),
  }),
  /** Install the Tailscale operator, or find that it is there. */
  'mesh/operator.install.requested': z.strictObject({}),
  /** Remove the operator that onehop installed, if nothing needs it any more. */
  'mesh/operator.remove.requested': z.strictObject({}),
  /** Replace the policy's rules from `*` to `*`; it takes itself back unless `onehop policy confirm` comes in time. */
  'mesh/policy.narrow.requested': z.strictObject({}),
  /** Move one service: a migration of one. */
  'mesh/service.expose.requested': z.strictObject({ service: dnsLabel }),
  /** Take back what was done to one service. With `attempt`, only that one; `failure` is why, if it was not a person. */
  'mesh/service.rollback.requested': z.strictObject({
    service: dnsLabel,
    attempt: attempt.optional(),
    failure: failure.optional(),
    /** Only what a retirement has done: the service stays moved. */
    to: z.literal('moved').optional(),
    /** A one-time code, written by the command line: puts back also what somebody else has changed since. */
    force: eventId.optional(),
  }),
  /**
   * Take back all services that were touched, or those named: what they share in one edit. With `operator`, the operator
   * goes as well, once all of them are back.
   */
  'mesh/rollback.requested': z.strictObject({
    services: services.optional(),
    operator: z.boolean().optional(),
  }),
  /** The old path of a moved service goes, if it was shown to be unused, or with a one-time code of the command line. */
  'mesh/service.retire.requested': z.strictObject({
    service: dnsLabel,
    force: eventId.optional(),
  }),
  /** Asks a vantage, a machine that runs `onehop probe --as VANTAGE`, to prove a service's device name from there. */
  'mesh/path.probe.requested': z.strictObject({
    ...asked,
    rounds: z.int().min(1).max(20),
    every: z.number().positive().max(10),
  }),
  /**
   * What a vantage saw: every answer of every port, and in how many rounds its tailscaled went directly or by a relay;
   * `failure` is why it could not look at all. No times of day: its clock is not the worker's. It counts only for the
   * attempt that asked, with the word (`ask`) that the worker gave out after the switch.
   */
  'mesh/path.probed': z.strictObject({
    ...asked,
    answers: z
      .array(
        z.strictObject({
          port: z.int().min(1).max(65535),
          ok: z.boolean(),
          ms: z.number().min(0).max(600_000),
          message: z.string().max(300).optional(),
        }),
      )
      .max(2000),
    direct: count,
    relayed: count,
    failure: z.string().max(300).optional(),
  }),
  /** Look for drift now, as the cron does. */
  'mesh/drift.check.requested': z.strictObject({}),
  /** Repair drift: all that can be, or what is named (a kind, or a kind and its subject). */
  'mesh/drift.repair.requested': z.strictObject({
    drifts: z.array(z.string().min(1).max(400)).min(1).optional(),
  }),
  /** Something is not as it was left; once, not at each look. */
  'mesh/drift.detected': drift,
  /** What was told is as it was left again. */
  'mesh/drift.resolved': drift,
  'mesh/drift.repair.completed': ofRequest,
  'mesh/drift.repair.failed': ofRequest,
  'mesh/service.retired': ofService,
  'mesh/service.retire.failed': ofService,
  /** A migration ended; each service with its state. */
  'mesh/migration.completed': ofRequest,
  /** A migration ended with a service refused or rolled back, or was refused as a whole. */
  'mesh/migration.failed': ofRequest,
  'mesh/operator.install.completed': ofRequest,
  'mesh/operator.install.failed': ofRequest,
  'mesh/operator.remove.completed': ofRequest,
  'mesh/operator.remove.failed': ofRequest,
  /** The policy is narrowed, until the time `until` unless it is confirmed. */
  'mesh/policy.narrow.completed': ofRequest,
  'mesh/policy.narrow.failed': ofRequest,
  /** A service is moved: it answers on its device name. */
  'mesh/service.expose.completed': ofService,
  /** A service was not moved; `failure` says why. */
  'mesh/service.expose.failed': ofService,
  /** A service is as it was before; `failure` says what made that necessary. */
  'mesh/service.rolled-back': ofService,
  'mesh/service.rollback.failed': ofService,
} as const

export type EventName = keyof typeof events
