import type { Entry } from '../journal-records.ts'

/** Let's Encrypt's limit for one exact set of names. Each exposure asks for a new one: its proxy's state goes with the undo. */
export const certificatesPerWeek = 5
const week = 7 * 86_400_000

/**
 * How many certificates a service may have asked for in the last seven days, by its journal: an upper bound, as an attempt
 * that failed early asked for none. `until`: when the first of them no longer counts, as ISO 8601.
 */
export function certificatesSpent(
  entry: Entry | undefined,
  now = Date.now(),
): { times: number; until: string } {
  const asked = Object.values(entry?.ended ?? {})
    .filter(({ state, certificate }) => certificate && (state === 'exposing' || state === 'moved'))
    .map(({ at }) => Date.parse(at))
    .filter((at) => at > now - week)
  return { times: asked.length, until: new Date(Math.min(now, ...asked) + week).toISOString() }
}
