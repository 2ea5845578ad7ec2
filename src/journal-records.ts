import { z } from 'zod'
import type { Failure } from './errors.ts'
import { dnsLabel } from './names.ts'
import { evidenceSchema } from './plan/evidence.ts'
import { pieceSchema } from './plan/policy-text.ts'

// What the journal's files hold, and what can be told from a record alone.

export const states = [
  'exposing',
  'moved',
  'retiring',
  'retired',
  'rolling-back',
  'restored',
  'rollback-incomplete',
] as const
export type State = (typeof states)[number]

const changeSchema = z.object({
  id: z.enum(['allow', 'expose', 'switch', 'type', 'route']),
  before: z.unknown(),
  target: z.unknown(),
  /** The UID of the object that was changed: another one of the same name is not ours to undo. */
  uid: z.string().optional(),
  undone: z.boolean(),
})
export type ChangeRecord = z.infer<typeof changeSchema>

export const entrySchema = z.object({
  version: z.literal(1),
  service: dnsLabel,
  attempt: z.int(),
  state: z.enum(states),
  request: z.string(),
  run: z.string(),
  cluster: z.string(),
  tailnet: z.string(),
  changes: z.array(changeSchema),
  /** What has ended for this service, by request: a rerun of an older one is stale. */
  ended: z.record(
    z.string(),
    /** `certificate`: it may have asked for one. */
    z.object({ state: z.enum(states), at: z.string(), certificate: z.boolean().optional() }),
  ),
  failure: z.unknown().optional(),
  /** The last proof of the new path, for whoever watches. */
  probe: z.object({ ms: z.number(), at: z.string() }).optional(),
  /** What was seen of its paths while both were up, of the attempt that it names. */
  evidence: evidenceSchema.optional(),
  /** Where its rollback leads, if not to the very beginning: a retirement that failed goes back to `moved`. */
  to: z.literal('moved').optional(),
  /** How many changes stood when this attempt began at a service that was moved already; absent once it has made another. */
  standing: z.int().optional(),
  /** How often, and when last, somebody took up this attempt because its run was lost. */
  recovery: z.object({ count: z.int(), at: z.string() }).optional(),
  /** What was written again because it had drifted, the last twenty times. */
  repairs: z.array(z.object({ at: z.string(), request: z.string(), drift: z.string() })).optional(),
  /** Since when Caddy leads to the port map again, because the device name of a moved service fell silent. */
  fellBack: z.object({ at: z.string(), why: z.string() }).optional(),
  updatedAt: z.string().optional(),
})
export type Entry = Omit<z.infer<typeof entrySchema>, 'failure'> & { failure?: Failure }
export type RollbackStart = {
  request: string
  run: string
  attempt?: number | undefined
  failure?: Failure | undefined
  to?: 'moved' | undefined
}
export type Start = Pick<Entry, 'request' | 'run' | 'cluster' | 'tailnet'>
export type CheckIn = { phase: string; seconds: number; always?: boolean }

export const usageSchema = z.object({
  at: z.number(),
  from: z.number().optional(),
  users: z.array(
    z.object({
      port: z.number(),
      process: z.string().nullable(),
      pid: z.number().nullable(),
      peer: z.string().optional(),
    }),
  ),
  counted: z.object({ since: z.number(), requests: z.number(), inFlight: z.number() }).optional(),
})
export type UsageSample = z.infer<typeof usageSchema>

export const narrowingSchema = z.object({
  version: z.literal(1).default(1),
  state: z.enum(['unconfirmed', 'confirmed', 'widened']),
  request: z.string(),
  /** Until when it has to be confirmed. */
  until: z.string(),
  added: z.array(pieceSchema),
  /** Why it was taken back, or cannot be. */
  failure: z.unknown().optional(),
  updatedAt: z.string().optional(),
})
/** Written before the policy is. */
export type Narrowing = Omit<z.infer<typeof narrowingSchema>, 'failure' | 'version'> & { failure?: Failure }

export const codeSchema = z.object({ action: z.string(), until: z.string() })

const endStates = ['completed', 'failed', 'refused'] as const
export type EndState = (typeof endStates)[number]

/** What 0.1.0 did not write has a default: a request of it that runs has long missed its deadline. */
export const requestSchema = z.object({
  version: z.literal(1).default(1),
  id: z.string(),
  event: z.string(),
  data: z.unknown().default({}),
  run: z.string(),
  state: z.enum(['running', ...endStates]),
  /** The step that it is in. */
  phase: z.string().optional(),
  startedAt: z.string().default('1970-01-01T00:00:00.000Z'),
  /** When its first run took it up; a rerun is as old as that. */
  askedAt: z.string().optional(),
  /** By when its run must have said that it lives. After that it is lost. */
  deadline: z.string().default('1970-01-01T00:00:00.000Z'),
  abort: z.enum(['rest', 'all']).optional(),
  /** It can no longer be aborted: what it does to its end has been decided. */
  closing: z.boolean().optional(),
  result: z.unknown().optional(),
  failure: z.unknown().optional(),
  /** How each run of it has ended, the earlier ones too: what is counted must not become less when it is run again. */
  runs: z.array(z.object({ state: z.enum(endStates), seconds: z.number().optional() })).optional(),
  updatedAt: z.string().optional(),
})
/** What became of a request: kept by its event id, so that a rerun of a finished one changes nothing. */
export type RequestRecord = Omit<z.infer<typeof requestSchema>, 'failure'> & { failure?: Failure }

export type RequestRun = NonNullable<RequestRecord['runs']>[number]

/** How often a request was run, and how each run ended; a record of 0.1.0 knows only of the last one. */
export function runsOf({ state, runs = [], startedAt, updatedAt }: RequestRecord): RequestRun[] {
  if (state === 'running' || runs.length > 0) return runs
  const seconds = (Date.parse(updatedAt ?? '') - Date.parse(startedAt)) / 1000
  return [{ state, ...(Date.parse(startedAt) > 0 && seconds >= 0 && { seconds }) }]
}

/** Whether somebody should be at work on it: what is neither begun nor ended. */
export const isLive = ({ state }: Entry) =>
  state === 'exposing' || state === 'retiring' || state === 'rolling-back'

/** A run is lost when it has missed the deadline that it wrote; the engine shows such runs as RUNNING for ever. */
export const isLost = ({ state, deadline }: RequestRecord) =>
  state === 'running' && Date.parse(deadline) < Date.now()

export const isOver = (record: RequestRecord) => record.state !== 'running' || isLost(record)
