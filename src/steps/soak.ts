import { type Failure, toOnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import {
  emptyTally,
  evidenceOf,
  type Limits,
  type PathEvidence,
  type PathName,
  soakProblem,
  type Tally,
  tallied,
} from '../plan/evidence.ts'
import { type ClusterService, type Mesh, selectServices } from '../plan/mesh.ts'
import { deviceName } from '../plan/paths.ts'
import type { Setup } from '../setup.ts'
import type { Peer } from '../systems/tailscale.ts'
import type { Attempt, Moving } from './attempt.ts'
import { type Probed, probePaths } from './prove-path.ts'
import { type Step, tried, withPatience } from './step.ts'
import { type Ask, askVantages, awaitVantages, beginEvidence } from './vantages.ts'

/**
 * Proves all paths of every service of the wave again and again for the soak time, keeps in the journal what was seen,
 * and waits for the evidence of the other vantages. Who fails more, or is slower, than allowed fails alone.
 */
export async function soakWave(
  step: Step,
  { setup, request }: Moving,
  { wave, attempts }: { wave: string; attempts: Attempt[] },
): Promise<Attempt[]> {
  if (attempts.every((each) => each.failure)) return attempts
  const begun = await tried(step, `${wave}/soak: begin`, () => begin(setup, attempts))
  if (!begun.ok) return attempts.map((each) => ({ ...each, failure: each.failure ?? begun.failure }))
  const { seconds: total, asks, deadline } = begun.value
  let current = failing(attempts, begun.value.failures)
  await askVantages(step, asks, { wave, request, round: 1 })
  const rest = restBetween(total)
  let tallies: Tallies = {}
  for (let done = 0, round = 1; done < total; round++) {
    const soaking = current.filter((each) => !each.failure)
    if (soaking.length === 0) break
    const seconds = Math.min(chunk, total - done)
    const last = done + seconds + rest >= total
    const earlier = tallies
    const outcome = await step.run(
      `${wave}/soak: prove (${round})`,
      () => soak(setup, { attempts: soaking, seconds, earlier, last }),
      { rest },
    )
    const failures: Record<string, Failure> = outcome.ok
      ? outcome.value.failures
      : Object.fromEntries(soaking.map(({ name }) => [name, outcome.failure]))
    if (outcome.ok) tallies = outcome.value.tallies
    current = failing(current, failures)
    done += seconds + rest
    if (rest > 0 && done < total) await step.sleep(`${wave}/soak: rest (${round})`, rest * 1000)
  }
  return awaitVantages(step, { setup, request }, { wave, attempts: current, asks, seconds: deadline })
}

/** How many steps of the engine a soak of so many seconds takes at most. */
export const stepsOfSoak = (seconds: number) =>
  1 + Math.ceil(seconds / (chunk + restBetween(seconds))) * (restBetween(seconds) > 0 ? 2 : 1)

/** A step polls for at most so many seconds, so that a worker that dies repeats little. */
const chunk = 10

/** A soak of more than a quarter of an hour looks for 10 s at a time, about ninety times: the engine ends a run at 1,000 steps. */
const restBetween = (seconds: number) => (seconds <= 900 ? 0 : Math.ceil(seconds / 90) - chunk)

/** What was counted so far, by service and path. */
type Tallies = Record<string, Partial<Record<PathName, Tally>>>

const failing = (attempts: Attempt[], failures: Record<string, Failure>): Attempt[] =>
  attempts.map((each) => {
    const failure = each.failure ?? failures[each.name]
    return failure ? { ...each, failure } : each
  })

async function begin(setup: Setup, attempts: Attempt[]) {
  const [mesh, journal] = await Promise.all([setup.mesh(), setup.journal()])
  const failures: Record<string, Failure> = {}
  const live = attempts.filter((each) => !each.failure)
  const services = selectServices(
    mesh,
    live.map((each) => each.name),
  )
  const asks = await Promise.all(
    services.map(async (service): Promise<Ask[]> => {
      const attempt = attemptOf(live, service)
      return withPatience(() => beginEvidence({ mesh, journal }, service, attempt)).catch(
        (thrown: unknown) => {
          failures[service.name] = toOnehopError(thrown).toJSON()
          return []
        },
      )
    }),
  )
  return { seconds: mesh.soak.seconds, deadline: mesh.deadlines.proof, asks: asks.flat(), failures }
}

/** Probes for some seconds, and counts on from `earlier`; ends at once when a service has failed. */
async function soak(
  setup: Setup,
  {
    attempts,
    seconds,
    earlier,
    last,
  }: { attempts: Attempt[]; seconds: number; earlier: Tallies; last: boolean },
): Promise<{ tallies: Tallies; failures: Record<string, Failure> }> {
  const { mesh, systems, journal } = await setup.work()
  const services = selectServices(
    mesh,
    attempts.map((each) => each.name),
  )
  const tallies: Tallies = { ...earlier }
  const seen: Record<string, PathEvidence[]> = {}
  // A service that somebody rolls back meanwhile drops out alone; its siblings go on.
  const dropped: Record<string, Failure> = {}
  const until = Date.now() + seconds * 1000
  for (;;) {
    const round = Date.now()
    const soaking = services.filter((each) => !dropped[each.name])
    const probed = await Promise.all(
      soaking.map(async (service) => ({ service, ...(await probePaths(systems, mesh, service)) })),
    )
    // After the probes: a way that was not used lately is not known. Without tailscaled's word, none is counted.
    const peers: Record<string, Peer> = await systems.tailscale.peers().catch(() => ({}))
    const at = new Date().toISOString()
    await Promise.all(
      probed.map(async ({ service, portMaps, urls, fresh }) => {
        const { name } = service
        const paths = { 'port map': portMaps, 'old URL': urls, 'device name': fresh }
        setup.seen?.({ service: name, paths })
        const tally = countRound(tallies[name] ?? {}, {
          from: new Date(round).toISOString(),
          paths,
          peer: peers[deviceName(mesh, service)],
        })
        tallies[name] = tally
        const evidence = pathsOf(mesh, tally, at)
        const slowest = Math.max(...fresh.map(({ answer }) => answer.ms))
        const attempt = attemptOf(attempts, service)
        const keeping = { service: name, attempt, paths: evidence, ms: slowest, at }
        await keep(journal, keeping).catch((thrown: unknown) => {
          dropped[name] = toOnehopError(thrown).toJSON()
        })
        seen[name] = evidence
      }),
    )
    const failed = failuresOf(seen, mesh.soak, false)
    const over = Date.now() >= until
    if (over || Object.keys(failed).length > 0)
      return { tallies, failures: { ...failuresOf(seen, mesh.soak, last), ...dropped } }
    const rest = Math.max(0, Math.min(until, round + mesh.soak.every * 1000) - Date.now())
    await new Promise((resolve) => setTimeout(resolve, rest))
  }
}

const failuresOf = (seen: Record<string, PathEvidence[]>, limits: Limits, ended: boolean) =>
  Object.fromEntries(
    Object.entries(seen).flatMap(([name, paths]) => {
      const problem = soakProblem(name, paths, { limits, ended })
      return problem ? [[name, problem.toJSON()] as const] : []
    }),
  )

const attemptOf = (attempts: Attempt[], { name }: ClusterService) =>
  attempts.find((each) => each.name === name)?.attempt ?? 0

type Round = { from: string; paths: Record<PathName, Probed[]>; peer: Peer | undefined }

/** One round of probes more, and by which way the device was reached in it. */
function countRound(
  earlier: Partial<Record<PathName, Tally>>,
  { from, paths, peer }: Round,
): Partial<Record<PathName, Tally>> {
  const counted = Object.entries(paths).flatMap(([name, probed]) => {
    if (probed.length === 0) return []
    const tally = probed.reduce(tallied, earlier[name as PathName] ?? emptyTally(from))
    if (name !== 'device name' || !peer?.reachable) return [[name, tally]]
    const way = peer.direct ? 'direct' : 'relayed'
    return [[name, { ...tally, [way]: tally[way] + 1 }]]
  })
  return { ...earlier, ...Object.fromEntries(counted) }
}

const pathsOf = (mesh: Mesh, tally: Partial<Record<PathName, Tally>>, to: string): PathEvidence[] =>
  Object.entries(tally).map(([path, each]) =>
    evidenceOf({ vantage: thisVantage(mesh), path: path as PathName }, each, to),
  )

const thisVantage = (mesh: Mesh) => mesh.machine ?? 'this machine'

/** In place of what this machine had seen before; what other vantages saw stays. */
function keep(journal: Journal, { service, attempt, paths, ms, at }: Keeping): Promise<unknown> {
  return journal.guarded(service, attempt, (entry, save) => {
    const { evidence } = entry
    const begun = evidence?.attempt === attempt ? evidence : { attempt, paths: [] }
    const others = begun.paths.filter(({ vantage }) => paths.every((each) => each.vantage !== vantage))
    return save({ ...entry, probe: { ms, at }, evidence: { ...begun, paths: [...paths, ...others] } })
  })
}

type Keeping = { service: string; attempt: number; paths: PathEvidence[]; ms: number; at: string }
