import { Hono } from 'hono'
import { serve as serveInngest } from 'inngest/hono'
import { appId, createClient } from '../inngest.config.ts'
import { attend, type Worker } from './attend.ts'
import { messageOf } from './errors.ts'
import { createFunctions } from './functions/functions.ts'
import { allowedHosts, guarded } from './guard.ts'
import { createMetrics, type EngineLink } from './metrics.ts'
import { endpointOf } from './plan/called-at.ts'
import { publicUrl } from './plan/public-url.ts'
import { refuseSimulated } from './refuse-simulated.ts'
import { createRegistration } from './registration.ts'
import { createSetup, type Setup } from './setup.ts'
import { shareAsyncContext } from './share-async-context.ts'
import { readCredential } from './systems/credentials.ts'
import { servicesKnown, type WorkerStatus } from './worker-status.ts'

/**
 * The worker as a Hono sub-app: `GET /` answers its status as JSON, `GET /metrics` what Prometheus scrapes, and with
 * engine.serveOrigin `/api/inngest` serves the functions. It has an Inngest app id of its own, so that it can be mounted
 * beside another app's `serve()` in one process, at worker.path:
 *
 *     const onehop = await createOnehopApp({ meshFile: 'mesh.yaml' })
 *     app.route('/onehop', onehop.app)
 *     const worker = await onehop.start({ log: console.log })
 *
 * Each of these routes answers only for known hosts, see allowedHosts. `port` is the port that the process listens on, if
 * that is known.
 *
 * @throws OnehopError mesh-unreadable, mesh-invalid, credentials-missing, journal-unwritable, simulated-unsupported
 */
export async function createOnehopApp({ meshFile, port }: { meshFile: string; port?: number }) {
  shareAsyncContext()
  const configured = createSetup(meshFile)
  const mesh = await configured.mesh()
  refuseSimulated(mesh, 'worker')
  const { engine, worker, drift } = mesh
  const link: EngineLink = { connected: () => undefined }
  const setup: Setup = { ...configured, engineInUse: engine.url, seen: (paths) => metrics.see(paths) }
  const metrics = createMetrics(setup, link)
  const [eventKey, signingKey] = await Promise.all([
    engine.eventKeyFile ? readCredential(engine.eventKeyFile) : process.env.INNGEST_EVENT_KEY,
    engine.signingKeyFile ? readCredential(engine.signingKeyFile) : process.env.INNGEST_SIGNING_KEY,
  ])
  const keys = { url: engine.url, eventKey, signingKey }
  const client = createClient(keys)
  const functions = createFunctions(client, setup, drift)
  // A state folder that cannot be used is refused at once.
  await setup.journal()
  const app = new Hono()
  const { serveOrigin } = engine
  const hosts = allowedHosts({ ...worker, serveOrigin, port })
  app.get(
    '/',
    guarded(hosts, async (context) =>
      context.json({
        status: 'ok',
        service: appId,
        engine: publicUrl(engine.url),
        functions: functions.map((each) => each.id()),
        ...(await servicesKnown(setup)),
      } satisfies WorkerStatus),
    ),
  )
  app.get(
    '/metrics',
    guarded(hosts, async (context) => {
      const { text, contentType } = await metrics.scrape()
      return context.body(text, 200, { 'content-type': contentType })
    }),
  )
  const endpoint = serveOrigin === undefined ? undefined : endpointOf(serveOrigin, worker.path)
  if (endpoint !== undefined) {
    // No PUT: a caller could make the SDK register an address of the caller's choice. See createRegistration.
    const { origin, pathname } = new URL(endpoint)
    const serve = serveInngest({
      ...{ client, functions, serveOrigin: origin, servePath: pathname },
      enableUnauthedSync: false,
    })
    app.on(['GET', 'POST'], '/api/inngest', guarded(hosts, serve))
  }
  let log = (_: string) => {}
  // Hono calls this for the routes of this sub-app alone, also where it is mounted in another app.
  app.onError((thrown, context) => {
    // The SDK parses the body before it looks at the signature.
    if (thrown instanceof SyntaxError) return context.json({ message: 'the body is not JSON' }, 400)
    log(`a request could not be answered: ${messageOf(thrown)}`)
    return context.json({ message: 'internal error' }, 500)
  })
  return {
    app,
    client,
    functions,
    setup,
    /** Begins the work beside the engine's requests, once the process listens: see attend. */
    start(options: { log: (line: string) => void }): Promise<Worker> {
      log = options.log
      const registration = endpoint !== undefined && {
        endpoint,
        create: (signal: AbortSignal) => createRegistration({ client: keys, functions, endpoint, signal }),
      }
      return attend({ client, functions, setup, link, log, ...(registration && { registration }) })
    },
  }
}
