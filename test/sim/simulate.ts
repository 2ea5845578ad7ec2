import fc from 'fast-check'
import { type Case, caseArbitrary } from './case.ts'
import { type Outcome, runCase } from './run-case.ts'

/**
 * Runs so many cases, each of its own seed. A failing one is made smaller for a while, and told with the command that
 * runs it again and with its trace.
 */
export async function simulate({
  seeds,
  seed: first,
  path,
  trace = false,
  bail = false,
}: Options): Promise<Summary> {
  const started = performance.now()
  const faults: Record<string, number> = {}
  const failures: string[] = []
  let [violations, cases, moves, retirements] = [0, 0, 0, 0]
  let last: Outcome | undefined
  const property = (tracing: boolean, until = Number.POSITIVE_INFINITY) =>
    fc.asyncProperty(caseArbitrary, async (each) => {
      if (performance.now() > until) return
      last = await runCase(each, { tracing })
      if (last.violations[0]) throw new Error(last.violations[0])
    })
  for (let seed = first; seed < first + seeds; seed++) {
    const plain = property(trace)
    const found = await fc.check(plain, {
      seed,
      numRuns: 1,
      endOnFailure: true,
      verbose: 0,
      ...(path && { path }),
    })
    cases++
    moves += last?.moves ?? 0
    retirements += last?.retirements ?? 0
    if (trace && last) console.error(last.trace.join('\n'))
    for (const [kind, count = 0] of Object.entries(last?.faults ?? {}))
      faults[kind] = (faults[kind] ?? 0) + count
    if (!found.failed) continue
    violations++
    if (bail) return summary([`seed ${seed}: ${last?.violations[0]}`])
    if (failures.length < 3) failures.push(await explain(seed))
  }
  return summary(failures)

  function summary(told: string[]): Summary {
    return {
      seeds: cases,
      violations,
      moves,
      retirements,
      faults,
      seconds: (performance.now() - started) / 1000,
      failures: told,
    }
  }

  /** The smallest failing case that is found soon, its trace, and how to run it again. */
  async function explain(seed: number): Promise<string> {
    const smaller = path
      ? undefined
      : await fc.check(property(false, performance.now() + 10_000), { seed, numRuns: 1 })
    const where = path ?? smaller?.counterexamplePath ?? undefined
    const found = await fc.check(property(true), {
      seed,
      numRuns: 1,
      endOnFailure: true,
      ...(where && { path: where }),
    })
    const [shown] = (found.counterexample ?? []) as [Case?]
    return [
      ...(last?.trace ?? []),
      `case: ${JSON.stringify(shown)}`,
      `violated: ${last?.violations.join('; ')}`,
      `again: npm run sim -- --seed ${seed}${where ? ` --path ${where}` : ''} --trace`,
    ].join('\n')
  }
}

type Options = {
  seeds: number
  seed: number
  path?: string | undefined
  trace?: boolean
  /** Ends with the first failure, as it is. */
  bail?: boolean
}
export type Summary = {
  seeds: number
  violations: number
  /** How often a service was moved: without any, nothing was shown. */
  moves: number
  retirements: number
  /** How often each kind has really happened. */
  faults: Record<string, number>
  seconds: number
  failures: string[]
}
