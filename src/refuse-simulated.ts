import { OnehopError } from './errors.ts'
import type { Mesh } from './plan/mesh.ts'

/** For what asks the programs and sockets of this machine, or the real engine. @throws OnehopError simulated-unsupported */
export function refuseSimulated({ simulated: folder }: Mesh, command: string): void {
  if (folder !== undefined) throw new OnehopError('simulated-unsupported', { command, folder })
}
