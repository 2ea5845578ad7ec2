/**
 * Latencies in milliseconds, counted by value: exact below 100 ms, above it two leading digits, rounded up. So a soak of
 * any length is a few hundred numbers at most: it travels in every step's result, which the engine limits.
 */
export type Latencies = Record<string, number>

/** One more latency. */
export function addLatency(latencies: Latencies, milliseconds: number): Latencies {
  const key = String(rounded(milliseconds))
  return { ...latencies, [key]: (latencies[key] ?? 0) + 1 }
}

/** The latency that so many percent of the answers kept (nearest rank): of fewer than 100 answers, p99 is the slowest. */
export function percentile(latencies: Latencies, percent: number): number | undefined {
  const counts = Object.entries(latencies)
    .map(([ms, count]) => [Number(ms), count] as const)
    .sort(([left], [right]) => left - right)
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  let rank = Math.max(1, Math.ceil((total * percent) / 100))
  for (const [ms, count] of counts) {
    rank -= count
    if (rank <= 0) return ms
  }
  return undefined
}

function rounded(milliseconds: number): number {
  const whole = Math.max(0, Math.ceil(milliseconds))
  const unit = 10 ** Math.max(0, String(whole).length - 2)
  return Math.ceil(whole / unit) * unit
}
