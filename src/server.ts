import { Hono } from 'hono'
import { serve as serveInngest } from 'inngest/hono'
import { createClient } from '../inngest.config.ts'
import { type Failure, toOnehopError } from './errors.ts'
import { createFunctions } from './functions/functions.ts'
import { createJournal } from './journal.ts'
import { loadMesh } from './load-mesh.ts'
import { readCredential } from './systems/credentials.ts'

/**
 * The worker as a Hono sub-app: `GET /` answers its status as JSON, `/api/inngest` serves the functions. It has an
 * Inngest app id of its own, so that it can be mounted beside another app's `serve()` in one process:
 *
 *     app.route('/onehop', (await createOnehopApp({ meshFile: 'mesh.yaml', servePath: '/onehop/api/inngest' })).app)
 *
 * The client and the functions are given back too, for Inngest's `connect`.
 *
 * @throws OnehopError mesh-unreadable, mesh-invalid, credentials-missing, journal-unwritable
 */
export async function createOnehopApp({
  meshFile,
  servePath = '/api/inngest',
}: {
  meshFile: string
  servePath?: string
}) {
  const { engine, state } = await loadMesh(meshFile)
  const [eventKey, signingKey] = await Promise.all([
    engine.eventKeyFile ? readCredential(engine.eventKeyFile) : process.env.INNGEST_EVENT_KEY,
    engine.signingKeyFile ? readCredential(engine.signingKeyFile) : process.env.INNGEST_SIGNING_KEY,
  ])
  const client = createClient({ url: engine.url, eventKey, signingKey })
  const functions = createFunctions(client, meshFile)
  const journal = createJournal(state)
  const app = new Hono()
  app.get('/', async (context) => {
    const services = await journal.list().catch((thrown: unknown): Failure => toOnehopError(thrown).toJSON())
    return context.json({
      status: 'ok',
      service: 'onehop',
      engine: engine.url,
      functions: functions.map((each) => each.id()),
      services,
    })
  })
  const serve = serveInngest({
    client,
    functions,
    servePath,
    ...(engine.serveOrigin && { serveOrigin: engine.serveOrigin }),
  })
  app.on(['GET', 'PUT', 'POST'], '/api/inngest', serve)
  return { app, client, functions }
}
