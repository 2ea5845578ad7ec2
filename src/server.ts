import { Hono } from 'hono'
import { serve as serveInngest } from 'inngest/hono'
import { appId, createClient } from '../inngest.config.ts'
import { attend, type Worker } from './attend.ts'
import { type Failure, toOnehopError } from './errors.ts'
import { createFunctions } from './functions/functions.ts'
import { createMetrics, type EngineLink } from './metrics.ts'
import { createSetup, type Setup } from './setup.ts'
import { shareAsyncContext } from './share-async-context.ts'
import { readCredential } from './systems/credentials.ts'

/**
 * The worker as a Hono sub-app: `GET /` answers its status as JSON, `GET /metrics` what Prometheus scrapes, `/api/inngest`
 * serves the functions. It has an Inngest app id of its own, so that it can be mounted beside another app's `serve()` in one process, at worker.path:
 *
 *     const onehop = await createOnehopApp({ meshFile: 'mesh.yaml' })
 *     app.route('/onehop', onehop.app)
 *     const worker = await onehop.start({ log: console.log })
 *
 * @throws OnehopError mesh-unreadable, mesh-invalid, credentials-missing, journal-unwritable
 */
export async function createOnehopApp({ meshFile }: { meshFile: string }) {
  shareAsyncContext()
  const configured = createSetup(meshFile)
  const { engine, worker, drift } = await configured.mesh()
  const link: EngineLink = { connected: () => undefined }
  const setup: Setup = { ...configured, engineInUse: engine.url, seen: (paths) => metrics.see(paths) }
  const metrics = createMetrics(setup, link)
  const [eventKey, signingKey] = await Promise.all([
    engine.eventKeyFile ? readCredential(engine.eventKeyFile) : process.env.INNGEST_EVENT_KEY,
    engine.signingKeyFile ? readCredential(engine.signingKeyFile) : process.env.INNGEST_SIGNING_KEY,
  ])
  const client = createClient({ url: engine.url, eventKey, signingKey })
  const functions = createFunctions(client, setup, drift)
  // A state folder that cannot be used is refused at once.
  await setup.journal()
  const app = new Hono()
  app.get('/', async (context) => {
    const services = await setup
      .journal()
      .then((journal) => journal.list())
      .catch((thrown: unknown): Failure => toOnehopError(thrown).toJSON())
    return context.json({
      status: 'ok',
      service: appId,
      engine: engine.url,
      functions: functions.map((each) => each.id()),
      services,
    })
  })
  app.get('/metrics', async (context) => {
    const { text, contentType } = await metrics.scrape()
    return context.body(text, 200, { 'content-type': contentType })
  })
  const serve = serveInngest({
    client,
    functions,
    servePath: `${worker.path}/api/inngest`,
    ...(engine.serveOrigin && { serveOrigin: engine.serveOrigin }),
  })
  app.on(['GET', 'PUT', 'POST'], '/api/inngest', serve)
  return {
    app,
    client,
    functions,
    setup,
    /** Begins the work beside the engine's requests, once the process listens: see attend. */
    start: ({ log }: { log: (line: string) => void }): Promise<Worker> =>
      attend({ client, functions, setup, link, log }),
  }
}
