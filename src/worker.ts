import { serve } from '@hono/node-server'
import { execa } from 'execa'
import { connect } from 'inngest/connect'
import { appId } from '../inngest.config.ts'
import { messageOf, OnehopError } from './errors.ts'
import { loadMesh } from './load-mesh.ts'
import { createOnehopApp } from './server.ts'

/**
 * The worker by itself, on worker.listen. Without engine.serveOrigin it reaches out to the engine (Inngest connect), so
 * that an engine in a pod needs no way back; with it, the engine calls there, and the worker registers itself after
 * boot and whenever the engine does not know it.
 *
 * @throws OnehopError port-taken, naming who holds the port
 */
export async function startWorker({
  meshFile,
  log,
}: {
  meshFile: string
  log: (line: string) => void
}): Promise<Worker> {
  const { worker, engine } = await loadMesh(meshFile)
  const { app, client, functions } = await createOnehopApp({ meshFile })
  const { hostname, port } = new URL(`http://${worker.listen}`)
  const server = await listen({ app, hostname, port: Number(port), listen: worker.listen })
  log(`onehop worker on http://${worker.listen}, engine ${engine.url}`)
  const stop = new AbortController()
  const attached = engine.serveOrigin
    ? keepRegistered({
        engine: engine.url,
        own: `http://${worker.listen}`,
        origin: engine.serveOrigin,
        signal: stop.signal,
        log,
      })
    : keepConnected({ client, functions, signal: stop.signal, log })
  return {
    async close() {
      stop.abort()
      await attached
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export type Worker = { close(): Promise<void> }
type App = Awaited<ReturnType<typeof createOnehopApp>>

function listen({
  app,
  hostname,
  port,
  listen,
}: {
  app: App['app']
  hostname: string
  port: number
  listen: string
}) {
  return new Promise<ReturnType<typeof serve>>((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname, port }, () => resolve(server))
    server.on('error', async (thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EADDRINUSE') return reject(thrown)
      reject(new OnehopError('port-taken', { listen, holder: await holderOf(port) }, { cause: thrown }))
    })
  })
}

/** Who listens on a port: `lsof` on macOS and many Linuxes, else `ss`. */
async function holderOf(port: number): Promise<string> {
  const lsof = await execa('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], { reject: false })
  const [pid, command] = [/^p(\d+)/m.exec(lsof.stdout ?? '')?.[1], /^c(.+)/m.exec(lsof.stdout ?? '')?.[1]]
  if (pid) return `${command} (pid ${pid})`
  const ss = await execa('ss', ['-Hltnp', `sport = :${port}`], { reject: false })
  const found = /users:\(\("([^"]+)",pid=(\d+)/.exec(ss.stdout ?? '')
  return found ? `${found[1]} (pid ${found[2]})` : 'another process'
}

/** Connect retries by itself once it was connected; only the first attempt is ours to repeat. */
async function keepConnected({
  client,
  functions,
  signal,
  log,
}: {
  client: App['client']
  functions: App['functions']
  signal: AbortSignal
  log: (line: string) => void
}) {
  while (!signal.aborted) {
    try {
      const connection = await connect({ apps: [{ client, functions }], handleShutdownSignals: [] })
      log('connected to the engine')
      await aborted(signal)
      await connection.close()
      return
    } catch (thrown) {
      log(`the engine cannot be reached: ${messageOf(thrown)}`)
      await wait(2000, signal)
    }
  }
}

/** The engine polls no apps: it learns of our functions, and learns of them again after it forgot, only by our own PUT. */
async function keepRegistered({
  engine,
  own,
  origin,
  signal,
  log,
}: {
  engine: string
  own: string
  origin: string
  signal: AbortSignal
  log: (line: string) => void
}) {
  for (let registered = false; !signal.aborted; ) {
    const known = registered && (await knows(engine, origin))
    if (!known) {
      registered = await fetch(`${own}/api/inngest`, {
        method: 'PUT',
        signal: AbortSignal.timeout(10_000),
      }).then(
        (answer) => answer.ok,
        () => false,
      )
      log(registered ? 'registered with the engine' : 'the engine cannot be reached')
    }
    await wait(registered ? 5000 : 1000, signal)
  }
}

/** Whether the engine lists our app at our address; an engine that is away knows nothing. */
async function knows(engine: string, origin: string): Promise<boolean> {
  const query = '{ apps { name url } }'
  const answer = await fetch(`${engine}/v0/gql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
    signal: AbortSignal.timeout(5000),
  }).then(
    (response) => response.json() as Promise<{ data?: { apps?: Array<{ name: string; url?: string }> } }>,
    () => undefined,
  )
  return answer?.data?.apps?.some((each) => each.name === appId && each.url?.startsWith(origin)) ?? false
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
const wait = (milliseconds: number, signal: AbortSignal) =>
  Promise.race([new Promise((resolve) => setTimeout(resolve, milliseconds).unref()), aborted(signal)])
