import { z } from 'zod'
import { OnehopError } from '../errors.ts'
import type { Answer, Target } from '../systems/probes.ts'
import { addLatency, type Latencies, percentile } from './latencies.ts'

/**
 * What was seen of a service's paths while both were up: by vantage and path, with how often it failed, how long it took,
 * and by which way. The journal keeps it for one attempt; a later attempt begins without any.
 */
export const evidenceSchema = z.object({
  attempt: z.int(),
  /** The word by which the answers to this attempt's questions are known, and since when they are asked. */
  ask: z.object({ word: z.string(), at: z.string() }).optional(),
  paths: z.array(
    z.object({
      vantage: z.string(),
      path: z.enum(['port map', 'old URL', 'device name']),
      probes: z.int(),
      failures: z.int(),
      /** Milliseconds, of the probes that were answered. */
      p50: z.number().optional(),
      p99: z.number().optional(),
      /** Rounds of probes in which tailscaled reached the device directly, and by a relay. */
      direct: z.int().optional(),
      relayed: z.int().optional(),
      /** The last failure. */
      message: z.string().optional(),
      from: z.string(),
      to: z.string(),
    }),
  ),
})
export type Evidence = z.infer<typeof evidenceSchema>
export type PathEvidence = Evidence['paths'][number]
export type PathName = PathEvidence['path']

/** What was counted of one path so far. Small, whatever the number of probes: it goes from step to step. */
export type Tally = {
  probes: number
  failures: number
  latencies: Latencies
  direct: number
  relayed: number
  message: string
  from: string
}

export const emptyTally = (from: string): Tally => ({
  probes: 0,
  failures: 0,
  latencies: {},
  direct: 0,
  relayed: 0,
  message: '',
  from,
})

/** One probe more. A failed one has no latency: a refused connection is fast, and one that hangs is only its timeout. */
export function tallied(tally: Tally, { target, answer }: { target: Target; answer: Answer }): Tally {
  const { probes, failures, latencies } = tally
  return answer.ok
    ? { ...tally, probes: probes + 1, latencies: addLatency(latencies, answer.ms) }
    : {
        ...tally,
        probes: probes + 1,
        failures: failures + 1,
        message: `${placeOf(target)} ${answer.message}`,
      }
}

/** An old URL has its port in it. */
const placeOf = ({ host, port }: Target) => (host.includes('://') ? host : `${host}:${port}`)

/** A tally as the journal keeps it. */
export function evidenceOf(
  place: { vantage: string; path: PathName },
  tally: Tally,
  to: string,
): PathEvidence {
  const { latencies, direct, relayed, probes, failures, message, from } = tally
  const [p50, p99] = [percentile(latencies, 50), percentile(latencies, 99)]
  return {
    ...place,
    probes,
    failures,
    ...(p50 !== undefined && { p50 }),
    ...(p99 !== undefined && { p99 }),
    ...(direct + relayed > 0 && { direct, relayed }),
    ...(message && { message }),
    from,
    to,
  }
}

export type Limits = { failures: number; p99?: number | undefined }

/** Why a soak has failed, by what this machine saw: too many failures at any moment, too slow only by all that was seen. */
export function soakProblem(
  service: string,
  paths: PathEvidence[],
  { limits, ended }: { limits: Limits; ended: boolean },
): OnehopError | undefined {
  const failures = sum(paths.map((each) => each.failures))
  if (failures > limits.failures)
    return new OnehopError('soak-failed', {
      service,
      failures,
      probes: sum(paths.map((each) => each.probes)),
      message: paths.findLast((each) => each.message)?.message ?? '',
    })
  const slow = ended ? paths.find((each) => isSlow(each, limits)) : undefined
  return slow && new OnehopError('soak-slow', { service, path: slow.path, figures: figuresOf(slow, limits) })
}

/** Why what another vantage saw is no proof. */
export function vantageProblem(service: string, seen: PathEvidence, limits: Limits): OnehopError | undefined {
  const { vantage, failures, probes, message = '' } = seen
  const failed = (why: string) => new OnehopError('vantage-failed', { service, vantage, message: why })
  if (failures > limits.failures) return failed(`${failures} of ${probes} proofs failed; last: ${message}`)
  return isSlow(seen, limits) ? failed(figuresOf(seen, limits)) : undefined
}

/** By which way the device was reached, in words. */
export function wayOf({ direct = 0, relayed = 0 }: Pick<PathEvidence, 'direct' | 'relayed'>): string {
  if (direct + relayed === 0) return ''
  if (relayed === 0) return 'direct'
  return direct === 0 ? 'relayed' : `relayed ${relayed} of ${direct + relayed} times`
}

/** The move did not touch the port map: however slow that is, it is no reason to go back to it. */
const isSlow = ({ path, p99 }: PathEvidence, limits: Limits) =>
  limits.p99 !== undefined && path !== 'port map' && p99 !== undefined && p99 > limits.p99

const figuresOf = (seen: PathEvidence, limits: Limits) =>
  [
    `p99 ${seen.p99 ?? 'unknown'} ms where ${limits.p99 ?? 'any number of'} ms are allowed`,
    `p50 ${seen.p50 ?? 'unknown'} ms`,
    `${seen.probes} probes`,
    wayOf(seen),
  ]
    .filter(Boolean)
    .join(', ')

const sum = (numbers: number[]) => numbers.reduce((left, right) => left + right, 0)
