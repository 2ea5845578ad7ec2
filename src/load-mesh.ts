import { readFile } from 'node:fs/promises'
import { messageOf, OnehopError } from './errors.ts'
import { createJournal } from './journal.ts'
import { type Mesh, parseMesh } from './plan/mesh.ts'
import { createSystems } from './systems/systems.ts'

/** Where mesh.yaml is, if no flag says so. */
export const defaultMeshFile = () => process.env.ONEHOP_MESH ?? 'mesh.yaml'

/** @throws OnehopError mesh-unreadable, mesh-invalid */
export async function loadMesh(file: string): Promise<Mesh> {
  const text = await readFile(file, 'utf8').catch((thrown: unknown) => {
    throw new OnehopError('mesh-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
  })
  return parseMesh(text, file)
}

/**
 * mesh.yaml as it is now, its journal and its systems: what every step works with. Read anew for each step, so that a
 * long-lived worker follows the file.
 */
export async function loadWork(file: string) {
  const mesh = await loadMesh(file)
  return { mesh, journal: createJournal(mesh.state), systems: createSystems(mesh) }
}
