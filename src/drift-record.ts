import { z } from 'zod'
import type { Journal } from './journal.ts'
import type { DriftFound } from './plan/drift.ts'
import { type Drift, driftId, driftKindNames, driftKinds } from './plan/drift-kinds.ts'

/**
 * What is known of drift, in the state folder: since when each stands, what was told to whom, and how often each was
 * repaired. A change of state is told once by each channel; what could not be told there is kept until it was.
 *
 * Every function throws OnehopError journal-*.
 */
export const driftRecord = (journal: Journal) => ({
  /** Of the last look by a schedule or a request; nothing before the first. */
  last: (): Promise<DriftRecord | undefined> => journal.readDocument(file, recordSchema),

  /**
   * Writes down what was found, and gives back what has to be told. Of what could not be looked at, nothing is gone: it
   * stays as it was last seen.
   */
  async note({ drifts, unread, unseen }: Found): Promise<Noted> {
    const {
      drifts: noted,
      resolved,
      repairs,
    } = await journal.updateDocument(file, recordSchema, (before = empty()) => {
      const at = now()
      const known = new Map(before.drifts.map((each) => [driftId(each), each]))
      const repairs = recent(before.repairs)
      const found = drifts.map((drift) => {
        const earlier = known.get(driftId(drift))
        const isRaised = earlier?.raised || isSpent(repairs, driftId(drift))
        return { ...(isRaised ? raise(drift) : drift), since: earlier?.since ?? at, ...marksOf(earlier) }
      })
      const ids = new Set(drifts.map(driftId))
      const missing = before.drifts.filter((each) => !ids.has(driftId(each)))
      const isUnknown = ({ kind, subject }: Known) => {
        const { part } = driftKinds[kind]
        return (
          unread.includes(part) ||
          unseen.some((each) => each.subject === subject && (each.part ?? part) === part)
        )
      }
      const gone = missing.filter((each) => !isUnknown(each) && isTold(each))
      const back = before.resolved.filter((each) => !ids.has(driftId(each)))
      return {
        version: 1 as const,
        at,
        drifts: [...found, ...missing.filter(isUnknown)],
        resolved: [...back, ...gone.map((each) => ({ ...each, until: at }))],
        repairs,
      }
    })
    const newsFor = (mark: Mark): News => ({
      detected: noted.filter((each) => each[mark] !== each.severity).map(withoutMarks),
      resolved: resolved.filter((each) => each[mark] !== undefined).map(withoutMarks),
    })
    const spent = noted.map(driftId).filter((id) => isSpent(repairs, id))
    return { events: newsFor('sent'), webhook: newsFor('posted'), spent }
  },

  /** Writes down that these were told, as events (`sent`) or to the webhook (`posted`). */
  async told({ detected, resolved }: News, mark: Mark): Promise<void> {
    const of = (each: Known) => `${driftId(each)} ${each.since}`
    const known = new Map(detected.map((each) => [of(each), each.severity]))
    const over = new Set(resolved.map(of))
    await journal.updateDocument(file, recordSchema, (before = empty()) => ({
      ...before,
      drifts: before.drifts.map((each) => ({ ...each, [mark]: known.get(of(each)) ?? each[mark] })),
      resolved: before.resolved
        .map((each) => (over.has(of(each)) ? { ...each, [mark]: undefined } : each))
        .filter(isTold),
    }))
  },

  /** Claims a repair of each of these; gives back those that were repaired too often within an hour. */
  async claimRepairs(ids: string[]): Promise<string[]> {
    let refused: string[] = []
    await journal.updateDocument(file, recordSchema, (before = empty()) => {
      const repairs = recent(before.repairs)
      refused = ids.filter((id) => isSpent(repairs, id))
      const claimed = ids.filter((id) => !refused.includes(id))
      const added = Object.fromEntries(claimed.map((id) => [id, [...(repairs[id] ?? []), Date.now()]]))
      return { ...before, repairs: { ...repairs, ...added } }
    })
    return refused
  },
})

/** So many repairs of one drift within an hour, and no more by themselves: something puts it back. */
export const mostRepairs = 3
const hour = 3_600_000
const file = 'drift'

const severity = z.enum(['info', 'warning', 'critical'])
const notedShape = z.object({
  kind: z.enum(driftKindNames),
  subject: z.string(),
  severity,
  what: z.string(),
  cause: z.string().optional(),
  repair: z.string().optional(),
  cure: z.string(),
  since: z.string(),
  /** With which severity it was told as an event; of what is over, that its end was not told so yet. */
  sent: severity.optional(),
  /** The same of the webhook. */
  posted: severity.optional(),
  /** It came back after the last repair of an hour: it stays critical until it is gone. */
  raised: z.boolean().optional(),
})
const recordSchema = z.object({
  version: z.literal(1),
  /** When it was last looked. */
  at: z.string(),
  drifts: z.array(notedShape),
  /** What is over and not told everywhere yet. */
  resolved: z.array(notedShape.extend({ until: z.string() })),
  /** When each was repaired, in milliseconds. */
  repairs: z.record(z.string(), z.array(z.number())),
})
export type DriftRecord = z.infer<typeof recordSchema>
type Found = Pick<DriftFound, 'drifts' | 'unread' | 'unseen'>
type Mark = 'sent' | 'posted'
type Marks = Pick<z.infer<typeof notedShape>, Mark | 'raised'>
type Known = Omit<z.infer<typeof notedShape>, keyof Marks>
/** What has to be told. */
export type News = { detected: Known[]; resolved: Array<Known & { until: string }> }
/** `spent`: what was repaired so often within an hour that it is left to a person. */
export type Noted = { events: News; webhook: News; spent: string[] }

const marksOf = ({ sent, posted }: Marks = {}): Marks => ({
  ...(sent && { sent }),
  ...(posted && { posted }),
})
const isTold = ({ sent, posted }: Marks) => sent !== undefined || posted !== undefined
export const withoutMarks = <T extends Marks>({
  sent: _,
  posted: __,
  raised: ___,
  ...rest
}: T): Omit<T, keyof Marks> => rest

const raise = (drift: Drift): Drift & Marks => ({
  ...drift,
  raised: true,
  severity: 'critical',
  what: `${drift.what} (repaired ${mostRepairs} times within an hour, and back again)`,
})

const isSpent = (repairs: DriftRecord['repairs'], id: string) => (repairs[id] ?? []).length >= mostRepairs

const recent = (repairs: Record<string, number[]>) =>
  Object.fromEntries(
    Object.entries(repairs)
      .map(([id, times]) => [id, times.filter((at) => at > Date.now() - hour)] as const)
      .filter(([, times]) => times.length > 0),
  )

const now = () => new Date().toISOString()
const empty = (): DriftRecord => ({ version: 1, at: now(), drifts: [], resolved: [], repairs: {} })
