import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import type { Entry } from '../journal-records.ts'
import { vantageProblem } from '../plan/evidence.ts'
import { type ClusterService, type Mesh, vantagesOf } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import type { Attempt, Moving } from './attempt.ts'
import { type Step, tried } from './step.ts'

/** A question to one vantage about one service. `word` comes back in the answer. */
export type Ask = {
  service: string
  attempt: number
  vantage: string
  ask: string
  rounds: number
  every: number
}

/**
 * Begins the evidence of an attempt and gives its questions to other vantages, if mesh.yaml has any. Only here, after the
 * switch, is the word given out by which their answers are known: what was seen earlier can never count.
 *
 * @throws OnehopError attempt-superseded
 */
export function beginEvidence(
  { mesh, journal }: { mesh: Mesh; journal: Journal },
  service: ClusterService,
  attempt: number,
): Promise<Ask[]> {
  const { name } = service
  const { seconds, every } = mesh.soak
  return journal.guarded(name, attempt, async (entry, save) => {
    const begun = entry.evidence?.attempt === attempt ? entry.evidence : undefined
    const ask = begun?.ask ?? { word: crypto.randomUUID(), at: new Date().toISOString() }
    if (!begun) await save({ ...entry, evidence: { attempt, ask, paths: [] } })
    // As long as this machine soaks, but no longer than a step may take.
    const rounds = Math.min(20, Math.max(1, Math.floor(Math.min(10, seconds) / every)))
    return vantagesOf(mesh, service).map((vantage) => ({
      ...{ service: name, attempt, vantage, ask: ask.word },
      ...{ rounds, every: Math.min(10, every) },
    }))
  })
}

/** Asks them. An event that nobody takes is lost, and a vantage may just be connecting again: so each round asks anew. */
export async function askVantages(step: Step, asks: Ask[], { wave, request, round }: Asking): Promise<void> {
  if (asks.length === 0) return
  await step.sendEvent(
    `${wave}/vantages: ask (${round})`,
    asks.map((data) => ({
      id: `${request}/${data.service}/${data.attempt}/${data.vantage}/ask ${round}`,
      name: 'mesh/path.probe.requested',
      data,
    })),
  )
}

/**
 * Waits until every vantage has proven its services, asking again and again. What a vantage could not use fails at once,
 * and what no evidence came for fails at the deadline: each service alone. Both paths are up all the while.
 */
export async function awaitVantages(
  step: Step,
  { setup, request }: Pick<Moving, 'setup' | 'request'>,
  { wave, attempts, asks, seconds }: { wave: string; attempts: Attempt[]; asks: Ask[]; seconds: number },
): Promise<Attempt[]> {
  const rest = restBetween(seconds)
  let current = attempts
  let open = asks
  for (let waited = 0, round = 1; ; round++) {
    open = open.filter(({ service }) => current.some((each) => each.name === service && !each.failure))
    if (open.length === 0) return current
    const waiting = open
    const last = waited + look >= seconds
    const outcome = await tried(
      step,
      `${wave}/vantages: look (${round})`,
      () =>
        lookForEvidence(setup, {
          asks: waiting,
          seconds: Math.min(look, seconds - waited),
          deadline: last ? seconds : undefined,
        }),
      { rest },
    )
    const failures = outcome.ok
      ? outcome.value.failures
      : Object.fromEntries(open.map(({ service }) => [service, outcome.failure]))
    current = current.map((each) => {
      const failure = each.failure ?? failures[each.name]
      return failure ? { ...each, failure } : each
    })
    if (last || !outcome.ok) return current
    open = outcome.value.open
    if (open.length === 0) continue
    waited += look + rest
    if (rest > 0) await step.sleep(`${wave}/vantages: rest (${round})`, rest * 1000)
    await askVantages(step, open, { wave, request, round: round + 1 })
  }
}

/** How many steps of the engine a wait for vantages takes at most, with the first question. */
export const stepsOfVantages = (seconds: number) =>
  1 + (1 + Math.ceil(seconds / (look + restBetween(seconds)))) * (restBetween(seconds) > 0 ? 3 : 2)

/** They are asked again every so many seconds; a longer wait rests in between, so that there are about ten questions. */
const look = 5
const restBetween = (seconds: number) => Math.max(0, Math.ceil(seconds / 10) - look)

type Asking = { wave: string; request: string; round: number }

/** Looks into the journal for some seconds, and ends as soon as nothing is open; after the last look, silence is a failure. */
async function lookForEvidence(
  setup: Setup,
  { asks, seconds, deadline }: { asks: Ask[]; seconds: number; deadline: number | undefined },
): Promise<{ open: Ask[]; failures: Record<string, Failure> }> {
  const [mesh, journal] = await Promise.all([setup.mesh(), setup.journal()])
  const failures: Record<string, Failure> = {}
  let open = asks
  const until = Date.now() + seconds * 1000
  for (;;) {
    for (const service of new Set(open.map((each) => each.service))) {
      const mine = open.filter((each) => each.service === service)
      const entry = await readCurrent(journal, mine[0]).catch((thrown: unknown) => {
        failures[service] = toOnehopError(thrown).toJSON()
      })
      const seen = mine.flatMap((each) => evidenceFor(entry ?? undefined, each) ?? [])
      const problem = seen.map((each) => vantageProblem(service, each, mesh.soak)).find(Boolean)
      if (problem) failures[service] ??= problem.toJSON()
      open = open.filter((each) => each.service !== service || !evidenceFor(entry ?? undefined, each))
    }
    open = open.filter((each) => !failures[each.service])
    if (open.length === 0) return { open, failures }
    if (Date.now() >= until) break
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  if (deadline !== undefined)
    for (const { service, vantage } of open)
      failures[service] ??= new OnehopError('vantage-silent', {
        service,
        vantage,
        seconds: deadline,
      }).toJSON()
  return { open, failures }
}

/** The service may be rolled back by somebody meanwhile: then nothing more is waited for. */
async function readCurrent(journal: Journal, ask: Ask | undefined): Promise<Entry | undefined> {
  if (!ask) return undefined
  await journal.expectCurrent(ask.service, ask.attempt)
  return journal.read(ask.service)
}

const evidenceFor = (entry: Entry | undefined, { attempt, vantage }: Ask) =>
  entry?.evidence?.attempt === attempt
    ? entry.evidence.paths.find((each) => each.vantage === vantage)
    : undefined
