import { appId } from '../../inngest.config.ts'
import type { Mesh } from '../plan/mesh.ts'
import { callHttp } from './http-call.ts'

/** The worker's own word for the engine that it uses: it reads mesh.yaml's only when it starts. Nothing where there is no worker. */
export const askWorker = ({ listen, path }: Mesh['worker']): Promise<{ engine: string } | undefined> =>
  callHttp(`http://${listen}${path || '/'}`, { deadline: 2000 })
    .then(({ text }) => {
      const found = JSON.parse(text) as { service?: string; engine: string }
      return found.service === appId ? found : undefined
    })
    .catch(() => undefined)
