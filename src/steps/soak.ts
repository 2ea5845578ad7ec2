import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import { loadWork } from '../load-mesh.ts'
import { selectServices } from '../plan/mesh.ts'
import type { Attempt, Moving } from './attempt.ts'
import { probePaths } from './prove-path.ts'
import { type Step, tried } from './step.ts'

/** Proves all paths of every service of the wave again and again for the soak time; who fails more than allowed fails alone. */
export async function soakWave(
  step: Step,
  { meshFile }: Moving,
  { wave, attempts }: { wave: string; attempts: Attempt[] },
): Promise<Attempt[]> {
  if (attempts.every((each) => each.failure)) return attempts
  const soaked = await tried(
    step,
    `${wave}/soak: seconds`,
    async () => (await loadWork(meshFile)).mesh.soak.seconds,
  )
  if (!soaked.ok) return attempts.map((each) => ({ ...each, failure: each.failure ?? soaked.failure }))
  let current = attempts
  for (let done = 0, round = 1; done < soaked.value; round++) {
    const soaking = current.filter((each) => !each.failure)
    if (soaking.length === 0) break
    const seconds = Math.min(chunk, soaked.value - done)
    const outcome = await tried(step, `${wave}/soak: prove (${round})`, () =>
      soak(meshFile, { attempts: soaking, seconds }),
    )
    const failures: Record<string, Failure> = outcome.ok
      ? outcome.value
      : Object.fromEntries(soaking.map(({ name }) => [name, outcome.failure]))
    current = current.map((each) => {
      const failure = each.failure ?? failures[each.name]
      return failure ? { ...each, failure } : each
    })
    done += seconds
  }
  return current
}

/** A step polls for at most so many seconds, so that a worker that dies repeats little. */
const chunk = 10

/** Probes for some seconds; ends at once when a service has failed. Gives back the failures by service. */
async function soak(
  meshFile: string,
  { attempts, seconds }: { attempts: Attempt[]; seconds: number },
): Promise<Record<string, Failure>> {
  const { mesh, systems, journal } = await loadWork(meshFile)
  const names = attempts.map((each) => each.name)
  const services = selectServices(mesh, names)
  const tally = new Map(names.map((name) => [name, { probes: 0, failures: 0, message: '' }]))
  // A service that somebody rolls back meanwhile drops out alone; its siblings go on.
  const dropped: Record<string, Failure> = {}
  const until = Date.now() + seconds * 1000
  for (;;) {
    const round = Date.now()
    const soaking = services.filter((each) => !dropped[each.name])
    await Promise.all(
      soaking.map(async (service) => {
        const { old, fresh } = await probePaths(systems, mesh, service)
        const count = tally.get(service.name) ?? { probes: 0, failures: 0, message: '' }
        const attempt = attempts.find((each) => each.name === service.name)?.attempt ?? 0
        const slowest = Math.max(...fresh.map(({ answer }) => answer.ms))
        await journal.noteProbe(service.name, attempt, slowest).catch((thrown: unknown) => {
          dropped[service.name] = toOnehopError(thrown).toJSON()
        })
        for (const { target, answer } of [...old, ...fresh]) {
          count.probes++
          if (answer.ok) continue
          count.failures++
          count.message = `${target.host}:${target.port} ${answer.message}`
        }
      }),
    )
    const failed = [...tally].filter(([, count]) => count.failures > mesh.soak.failures)
    if (failed.length > 0 || Date.now() >= until)
      return {
        ...Object.fromEntries(
          failed.map(([service, count]) => [
            service,
            new OnehopError('soak-failed', { service, ...count }).toJSON(),
          ]),
        ),
        ...dropped,
      }
    const rest = Math.max(0, Math.min(until, round + mesh.soak.every * 1000) - Date.now())
    await new Promise((resolve) => setTimeout(resolve, rest))
  }
}
