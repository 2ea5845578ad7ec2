import { OnehopError, toOnehopError } from '../errors.ts'
import { isClusterService } from '../plan/mesh.ts'
import { deviceName, hasOldPath } from '../plan/paths.ts'
import type { Setup } from '../setup.ts'
import { probePaths } from './prove-path.ts'
import { type SwitchState, switchCaddyRoutes } from './switch-caddy-routes.ts'

/**
 * Proves the device name of every moved service once more. Where it has been silent `watch.failures` times in a row while
 * the port map answers, Caddy's routes go back to the port map: `moved, fell back`. `silent` counts by service, and is
 * kept by the caller from one look to the next. What a person does about it is `onehop expose` or `onehop rollback`.
 */
export async function watchMoved(setup: Setup, silent: Map<string, number>): Promise<FellBack[]> {
  const { mesh, systems, journal } = await setup.work()
  const moved = (await journal.list()).filter((each) => each.state === 'moved' && !each.fellBack)
  const looked = await Promise.all(
    moved.map(async ({ service: name, attempt }): Promise<FellBack[]> => {
      const service = mesh.services.filter(isClusterService).find((each) => each.name === name)
      // Without an old path there is nothing to fall back to.
      if (!service || !hasOldPath(service)) return []
      // Not through Caddy, which would count it as somebody's use of the old URL.
      const { portMaps, fresh } = await probePaths(systems, mesh, service, { throughCaddy: false })
      setup.seen?.({ service: name, paths: { 'port map': portMaps, 'old URL': [], 'device name': fresh } })
      const mute = fresh.find((each) => !each.answer.ok)
      const times = mute && portMaps.every((each) => each.answer.ok) ? (silent.get(name) ?? 0) + 1 : 0
      silent.set(name, times)
      if (!mute || mute.answer.ok || times < mesh.watch.failures) return []
      const { message } = mute.answer
      const failure = new OnehopError('device-fell-silent', {
        service: name,
        name: `${deviceName(mesh, service)}:${mute.target.port}`,
        times,
        message,
      }).toJSON()
      try {
        await journal.fallBack(name, attempt, failure, async (change) => {
          const swap = { from: change.target as SwitchState, to: change.before as SwitchState }
          await switchCaddyRoutes.write(systems, [swap], { expectRunning: false })
        })
        return [{ service: name, message: failure.message }]
      } catch (thrown) {
        return [{ service: name, message: `cannot fall back: ${toOnehopError(thrown).message}` }]
      }
    }),
  )
  return looked.flat()
}

export type FellBack = { service: string; message: string }
