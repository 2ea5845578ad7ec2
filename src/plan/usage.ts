import { OnehopError } from '../errors.ts'

/**
 * Whether an old path was shown to be unused: nobody seen on it for `holdSeconds` on end, `samples` every `everySeconds`,
 * from `since` on. Any use begins the hold anew, and so does a gap in the looking (more than three times `everySeconds`).
 * Processes of `own` (our probes) are nobody.
 *
 * Samples miss what opens and closes between two of them, so they are enough only together with Caddy's request counter,
 * which misses nothing that came through Caddy: with it for the whole hold the verdict is `unused`, without `sampled-only`.
 * A port to which no route leads is never counted: where there is one, `counts` is false.
 * Times are in ms.
 */
export function usageOf({
  samples,
  since,
  now,
  holdSeconds,
  everySeconds,
  own = [],
  counts = true,
}: Asked): Usage {
  const gapMs = 3 * everySeconds * 1000
  const ordered = samples
    .filter(({ at }) => at >= since && at <= now)
    .map((each) => (each.from === undefined ? each : { ...each, from: Math.max(each.from, since) }))
    .toSorted((a, b) => a.at - b.at)
  let [quietFrom, countedFrom]: Array<number | undefined> = []
  let gap: { from: number; to: number } | undefined
  let previous: UsageSample | undefined
  for (const sample of ordered) {
    const begun = sample.from ?? sample.at
    if (previous && begun - previous.at > gapMs) {
      gap = { from: previous.at, to: begun }
      quietFrom = undefined
      countedFrom = undefined
    }
    const used = strangers(sample, own).length > 0 || countedUse(previous, sample)
    quietFrom = used ? undefined : (quietFrom ?? begun)
    // What came between the last look and a counter that began anew was counted by nobody.
    const goesOn = previous?.counted && sample.counted && previous.counted.since === sample.counted.since
    countedFrom = quietFrom === undefined || !sample.counted ? undefined : goesOn ? countedFrom : undefined
    countedFrom ??= quietFrom !== undefined && sample.counted ? begun : undefined
    previous = sample
  }
  if (previous && now - previous.at > gapMs) {
    gap = { from: previous.at, to: now }
    quietFrom = undefined
    countedFrom = undefined
  }
  const held = (from: number | undefined) => (from === undefined ? 0 : (now - from) / 1000)
  const users = previous ? strangers(previous, own) : []
  const inUse = users.length > 0 || (previous?.counted?.inFlight ?? 0) > 0
  return {
    verdict: verdictOf(),
    heldSeconds: Math.floor(held((counts ? countedFrom : undefined) ?? quietFrom)),
    users: inUse ? users : lastSeen(ordered, own),
    ...(gap && { gap }),
  }

  function verdictOf(): Verdict {
    if (inUse) return 'in-use'
    if (held(quietFrom) < holdSeconds || quietFrom === undefined) return 'not-yet'
    if (countedFrom === undefined || !counts) return 'sampled-only'
    return held(countedFrom) < holdSeconds ? 'not-yet' : 'unused'
  }
}

/** The samples with one more: what goes on as quiet as before grows the last one, so that a day is no more than a few. */
export function addSample(
  samples: UsageSample[],
  sample: UsageSample,
  { everySeconds, own }: { everySeconds: number; own: number[] },
): UsageSample[] {
  const last = samples.at(-1)
  const quiet = (each: UsageSample) => strangers(each, own).length === 0
  const goesOn =
    last &&
    quiet(last) &&
    quiet(sample) &&
    sample.at - last.at <= 3 * everySeconds * 1000 &&
    last.counted?.since === sample.counted?.since &&
    !countedUse(last, sample)
  if (!goesOn) return [...samples.slice(-20), sample]
  return [...samples.slice(0, -1), { ...sample, from: last.from ?? last.at }]
}

/** The error that stands in the way of retiring, or undefined when the path is unused. */
export function usageProblem(
  { verdict, heldSeconds, users, gap }: Usage,
  { service, file, holdSeconds, everySeconds }: Named,
): OnehopError | undefined {
  switch (verdict) {
    case 'unused':
      return undefined
    case 'in-use':
      return new OnehopError('old-path-in-use', {
        service,
        users: users.map(userText).join(', ') || 'requests through Caddy are open',
      })
    case 'not-yet': {
      const last = users.at(-1)
      const why = last
        ? `last user: ${userText(last)}`
        : gap
          ? 'the worker did not look for a while'
          : 'no use seen'
      return new OnehopError('old-path-not-yet-quiet', {
        service,
        held: heldSeconds,
        hold: holdSeconds,
        gap: why,
      })
    }
    case 'sampled-only':
      return new OnehopError('old-path-only-sampled', {
        service,
        held: heldSeconds,
        every: everySeconds,
        file,
      })
    default:
      return verdict satisfies never
  }
}

/** Who was there at one moment, and Caddy's counter for the sites of this service where it counts. */
export type UsageSample = {
  at: number
  /** Where it stands for a whole stretch without use: since when. */
  from?: number | undefined
  users: PathUser[]
  counted?: { since: number; requests: number; inFlight: number } | undefined
}
export type PathUser = { port: number; process: string | null; pid: number | null; peer?: string | undefined }
export type Verdict = 'unused' | 'in-use' | 'not-yet' | 'sampled-only'
/** `users`: those there now; else those seen before, the latest last. */
export type Usage = {
  verdict: Verdict
  heldSeconds: number
  users: PathUser[]
  gap?: { from: number; to: number }
}
type Asked = {
  samples: UsageSample[]
  since: number
  now: number
  holdSeconds: number
  everySeconds: number
  own?: number[]
  counts?: boolean
}
type Named = { service: string; file: string; holdSeconds: number; everySeconds: number }

const strangers = ({ users }: UsageSample, own: number[]) =>
  users.filter(({ pid }) => pid === null || !own.includes(pid))

function countedUse(previous: UsageSample | undefined, { counted }: UsageSample): boolean {
  if (!counted) return false
  const goesOn = previous?.counted?.since === counted.since
  return counted.inFlight > 0 || counted.requests > (goesOn ? (previous?.counted?.requests ?? 0) : 0)
}

function lastSeen(samples: UsageSample[], own: number[]): PathUser[] {
  const seen = new Map<string, PathUser>()
  for (const user of samples.flatMap((sample) => strangers(sample, own))) {
    const key = `${user.port} ${user.process ?? user.peer ?? ''}`
    seen.delete(key)
    seen.set(key, user)
  }
  return [...seen.values()]
}

const userText = ({ port, process, pid, peer }: PathUser) =>
  `${process === null ? `a process that cannot be seen (${peer ?? 'address unknown'})` : `${process} (pid ${pid ?? 'unknown'})`} on port ${port}`
