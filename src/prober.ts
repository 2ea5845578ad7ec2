import { createClient } from '../inngest.config.ts'
import { closeDeadline } from './attend.ts'
import { answerProbe } from './functions/answer-probe.ts'
import { hasEnded } from './in-time.ts'
import { keepConnected } from './keep-connected.ts'
import { createSetup } from './setup.ts'
import { readCredential } from './systems/credentials.ts'
import { createProbingSystems } from './systems/probing-systems.ts'

/**
 * A vantage: another machine of the tailnet that proves device names when the worker asks. It dials the engine (Inngest
 * connect), under an app id of its own, and needs of mesh.yaml only the services and where the engine's keys are.
 *
 * `engine` is the engine's address as seen from here, if it is not the one in mesh.yaml (that is mostly localhost).
 *
 * @throws OnehopError mesh-unreadable, mesh-invalid, credentials-missing
 */
export async function startProber({ meshFile, as, engine: url, gateway, log }: Options): Promise<Prober> {
  const setup = createSetup(meshFile)
  const { engine } = await setup.mesh()
  const [eventKey, signingKey] = await Promise.all([
    engine.eventKeyFile ? readCredential(engine.eventKeyFile) : process.env.INNGEST_EVENT_KEY,
    engine.signingKeyFile ? readCredential(engine.signingKeyFile) : process.env.INNGEST_SIGNING_KEY,
  ])
  const client = createClient({ id: `onehop-probe-${as}`, url: url ?? engine.url, eventKey, signingKey })
  const functions = [answerProbe(client, { as, setup, systems: createProbingSystems })]
  log(`onehop probe as ${as}, engine ${url ?? engine.url}`)
  const stop = new AbortController()
  const connected = keepConnected({ client, functions, gateway, signal: stop.signal, log })
  return {
    async close() {
      stop.abort()
      await hasEnded(closeDeadline, connected)
    },
  }
}

export type Prober = { close(): Promise<void> }
type Options = {
  meshFile: string
  as: string
  engine?: string | undefined
  gateway?: string | undefined
  log: (line: string) => void
}
