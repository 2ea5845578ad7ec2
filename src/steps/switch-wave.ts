import { type Failure, OnehopError, toOnehopError } from '../errors.ts'
import { loadWork } from '../load-mesh.ts'
import { type Attempt, type Moving, serviceOf } from './attempt.ts'
import { type Step, tried, withPatience } from './step.ts'
import { type SwitchState, switchCaddyRoutes } from './switch-caddy-routes.ts'

/** Caddy's routes of every service of the wave that is proven: one edit, one reload. */
export async function switchWave(
  step: Step,
  { meshFile }: Moving,
  { wave, attempts }: { wave: string; attempts: Attempt[] },
): Promise<Attempt[]> {
  const ready = attempts.filter((each) => !each.failure)
  if (ready.length === 0) return attempts
  const recorded = await step.run(`${wave}/switch: record`, () =>
    Promise.all(
      ready.map(
        async ({ name, attempt = 0 }): Promise<{ name: string; routes: number; failure?: Failure }> => {
          try {
            const { mesh, systems, journal, service } = await serviceOf(meshFile, name)
            const before = await withPatience(() => switchCaddyRoutes.read(systems, mesh, service))
            if (before.routes.length > 0)
              await journal.record(name, attempt, {
                id: 'switch',
                before,
                target: switchCaddyRoutes.target(before, mesh, service),
                undone: false,
              })
            return { name, routes: before.routes.length }
          } catch (thrown) {
            return { name, routes: 0, failure: toOnehopError(thrown).toJSON() }
          }
        },
      ),
    ),
  )
  const routed = ready.filter(({ name }) => recorded.some((each) => each.name === name && each.routes > 0))
  const applied = await tried(step, `${wave}/switch: apply`, async () => {
    const { systems, journal } = await loadWork(meshFile)
    const swaps: Array<{ from: SwitchState; to: SwitchState }> = []
    const superseded: string[] = []
    // Every service's lock is held, in mesh.yaml's order, while the one file changes for all of them.
    const locked = async (rest: Attempt[]): Promise<string[]> => {
      const [first, ...others] = rest
      if (!first) {
        await switchCaddyRoutes.write(systems, swaps)
        return superseded
      }
      let held = false
      return journal
        .guarded(first.name, first.attempt ?? 0, (entry) => {
          held = true
          const change = entry.changes.find((each) => each.id === 'switch')
          swaps.push({ from: change?.before as SwitchState, to: change?.target as SwitchState })
          return locked(others)
        })
        .catch((thrown: unknown) => {
          // Rolled back by somebody meanwhile: its siblings go on without it.
          if (held || toOnehopError(thrown).code !== 'attempt-superseded') throw thrown
          superseded.push(first.name)
          return locked(others)
        })
    }
    return locked(routed)
  })
  return attempts.map((each) => {
    const failure =
      each.failure ?? recorded.find(({ name }) => name === each.name)?.failure ?? switchFailure(each)
    return failure ? { ...each, failure } : each
  })

  function switchFailure({ name, attempt = 0 }: Attempt): Failure | undefined {
    if (!routed.some((each) => each.name === name)) return undefined
    if (!applied.ok) return applied.failure
    if (!applied.value.includes(name)) return undefined
    return new OnehopError('attempt-superseded', { service: name, attempt, current: 'a later one' }).toJSON()
  }
}
