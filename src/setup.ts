import { readInTime } from './disk.ts'
import { messageOf, OnehopError } from './errors.ts'
import { type Journal, openJournal } from './journal.ts'
import type { PathName } from './plan/evidence.ts'
import { type Mesh, parseMesh } from './plan/mesh.ts'
import type { Probed } from './steps/prove-path.ts'
import { createEngine, type Engine } from './systems/engine.ts'
import type { Systems } from './systems/systems.ts'

/** Where mesh.yaml is, if no flag says so. */
export const defaultMeshFile = () => process.env.ONEHOP_MESH ?? 'mesh.yaml'

/**
 * What the workflows work with: mesh.yaml as it is now, its journal and its systems. Each is read anew for every step, so
 * that a long-lived worker follows the file and no step leans on what an earlier one kept in memory.
 */
export type Setup = {
  mesh(): Promise<Mesh>
  journal(): Promise<Journal>
  work(): Promise<Work>
  /** By which URL this process has used the engine since it started, if it is a worker: mesh.yaml may say another by now. */
  engineInUse?: string
  /** Told what was probed of a service's paths, for the worker's metrics. */
  seen?(paths: SeenPaths): void
}
export type SeenPaths = { service: string; paths: Record<PathName, Probed[]> }
export type Work = { mesh: Mesh; journal: Journal; systems: Systems }

/** The setup of a command: it can also ask the engine, and give it an event. */
export type CommandSetup = Setup & { engine(): Promise<Engine> }

/**
 * Where mesh.yaml names a simulated world, its systems and its engine take the place of the real ones.
 *
 * Each function throws OnehopError: mesh-unreadable, mesh-invalid; journal-unwritable; kubernetes-context-unknown;
 * simulated-world-unreadable.
 */
export function createSetup(meshFile: string): CommandSetup {
  async function mesh(): Promise<Mesh> {
    const text = await readInTime(meshFile)
      .then(String)
      .catch((thrown: unknown) => {
        throw new OnehopError(
          'mesh-unreadable',
          { file: meshFile, message: messageOf(thrown) },
          { cause: thrown },
        )
      })
    return parseMesh(text, meshFile)
  }
  const setup: CommandSetup = {
    mesh,
    journal: async () => openJournal((await mesh()).state),
    async work() {
      const found = await mesh()
      return { mesh: found, journal: await openJournal(found.state), systems: await systemsOf(found) }
    },
    async engine() {
      const { simulated, engine } = await mesh()
      return simulated === undefined ? createEngine(engine) : (await openSimulated(simulated)).engine(setup)
    },
  }
  return setup
}

async function systemsOf(mesh: Mesh): Promise<Systems> {
  if (mesh.simulated !== undefined) return (await openSimulated(mesh.simulated)).systems(mesh)
  // The Kubernetes client takes longer to load than most commands to run, and half of their memory; they do not need it.
  const { createSystems } = await import('./systems/systems.ts')
  return createSystems(mesh)
}

/** The only way from src to the simulated systems. */
const openSimulated = async (folder: string) => (await import('../simulated/world.ts')).openWorld(folder)
