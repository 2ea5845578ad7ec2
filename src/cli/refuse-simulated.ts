import { OnehopError } from '../errors.ts'
import type { Mesh } from '../plan/mesh.ts'

/** For commands that ask the programs and sockets of this machine. @throws OnehopError simulated-unsupported */
export function refuseSimulated({ simulated: folder }: Mesh, command: string): void {
  if (folder !== undefined) throw new OnehopError('simulated-unsupported', { command, folder })
}
