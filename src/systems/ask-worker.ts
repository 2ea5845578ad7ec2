import { appId } from '../../inngest.config.ts'
import type { Mesh } from '../plan/mesh.ts'

/** The worker's own word for the engine that it uses: it reads mesh.yaml's only when it starts. Nothing where there is no worker. */
export const askWorker = ({ listen, path }: Mesh['worker']): Promise<{ engine: string } | undefined> =>
  fetch(`http://${listen}${path || '/'}`, { signal: AbortSignal.timeout(2000) }).then(
    async (answer) => {
      const found = (await answer.json().catch(() => ({}))) as { service?: string; engine: string }
      return found.service === appId ? found : undefined
    },
    () => undefined,
  )
