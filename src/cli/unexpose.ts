import { OnehopError } from '../errors.ts'
import { selectServices } from '../plan/mesh.ts'
import { hasOldPath } from '../plan/paths.ts'
import { createSetup } from '../setup.ts'
import type { Answer } from './output.ts'
import { type RollbackFlags, rollback } from './rollback.ts'

/**
 * onehop unexpose SERVICE: the rollback of a service without an old path. Where there is one it is refused: who says
 * "unexpose" does not say that Caddy shall lead back as well.
 */
export async function unexpose({
  service,
  ...flags
}: Omit<RollbackFlags, 'services'> & { service: string }): Promise<Answer> {
  const [found] = selectServices(await createSetup(flags.mesh).mesh(), [service])
  if (found && hasOldPath(found)) throw new OnehopError('old-path-kept', { service })
  return rollback({ ...flags, services: [service] })
}
