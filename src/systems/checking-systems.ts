import { appId } from '../../inngest.config.ts'
import { type Journal, openJournal } from '../journal.ts'
import type { Mesh } from '../plan/mesh.ts'
import { createAccessReviews } from './access-reviews.ts'
import { askWorker } from './ask-worker.ts'
import { createCaddy } from './caddy.ts'
import { readCredential } from './credentials.ts'
import { createEngine } from './engine.ts'
import { helmVersion } from './helm.ts'
import { createIngresses } from './ingresses.ts'
import { createKubernetes } from './kubernetes.ts'
import { expectWritable, permissionsOf } from './permissions.ts'
import { createProbes } from './probes.ts'
import { resolverAnswers } from './resolver.ts'
import { createTailscale } from './tailscale.ts'

/** What `onehop check` asks: each system by itself, so that one that cannot even be set up is found like one that is down. */
export function createCheckingSystems(mesh: Mesh) {
  const engine = createEngine(mesh.engine)
  return {
    async journal(): Promise<Journal> {
      const journal = await openJournal(mesh.state)
      await expectWritable(mesh.state)
      return journal
    },
    keyFile: {
      permissions: permissionsOf,
      /** Only that there is something in it. */
      read: async (file: string): Promise<void> => void (await readCredential(file)),
    },
    resolverAnswers,
    tailscale: createTailscale(mesh.tailscale),
    operatorClient: createTailscale({ ...mesh.tailscale, credentials: mesh.operator.credentials }),
    /** @throws OnehopError kubernetes-context-unknown */
    cluster: async () => {
      const kubernetes = createKubernetes(mesh.kubernetes)
      const [ingresses, rights] = [createIngresses(mesh.kubernetes), createAccessReviews(mesh.kubernetes)]
      return { kubernetes, ingresses, rights }
    },
    helmVersion,
    caddy: createCaddy(mesh.caddy),
    engine: {
      health: engine.health,
      /** onehop's own app; null where the engine has none. */
      app: async () => (await engine.apps()).find(({ name }) => name === appId) ?? null,
    },
    worker: () => askWorker(mesh.worker),
    probes: createProbes(),
  }
}

export type CheckingSystems = ReturnType<typeof createCheckingSystems>
