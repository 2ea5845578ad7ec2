import { serve } from '@hono/node-server'
import { closeDeadline, type Worker } from './attend.ts'
import { OnehopError } from './errors.ts'
import { hasEnded } from './in-time.ts'
import { createOnehopApp } from './server.ts'
import { createSetup } from './setup.ts'
import { runProgram } from './systems/run-program.ts'
import { watchUsage } from './watch.ts'

/**
 * The worker by itself, on worker.listen. Without engine.serveOrigin it reaches out to the engine (Inngest connect), so
 * that an engine in a pod needs no way back; with it, the engine calls there, and the worker registers itself after
 * boot and whenever the engine does not know it.
 *
 * @throws OnehopError port-taken, naming who holds the port; journal-locked, naming the other worker
 */
export async function startWorker({
  meshFile,
  log,
}: {
  meshFile: string
  log: (line: string) => void
}): Promise<Worker> {
  const { worker, engine } = await createSetup(meshFile).mesh()
  const { hostname, port } = addressOf(worker.listen)
  const onehop = await createOnehopApp({ meshFile, ...(port > 0 && { port }) })
  const server = await listen({ app: onehop.app, hostname, port, listen: worker.listen })
  const attending = await onehop.start({ log }).catch((thrown: unknown) => {
    server.close()
    throw thrown
  })
  log(`onehop worker on http://${worker.listen}, engine ${engine.url}`)
  const stop = new AbortController()
  // Here alone: the sockets of this process are our own probes, those of another app's process might be a user's.
  const watching = watchUsage({ setup: onehop.setup, signal: stop.signal, log })
  return {
    async close() {
      stop.abort()
      const served = new Promise((resolve) => server.close(resolve))
      await Promise.all([attending.close(), hasEnded(closeDeadline, Promise.all([served, watching]))])
      // The engine's request for a step that is still under way, and connections that are only kept open.
      if ('closeAllConnections' in server) server.closeAllConnections()
    },
  }
}

/** Splits worker.listen. An IPv6 address is written in brackets there, and `listen` takes it without. */
function addressOf(listen: string): { hostname: string; port: number } {
  const colon = listen.lastIndexOf(':')
  return { hostname: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) }
}

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
  const ask = (program: string, args: string[]) =>
    runProgram(program, args).then(
      ({ stdout }) => stdout,
      () => '',
    )
  const lsof = await ask('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'])
  const [pid, command] = [/^p(\d+)/m.exec(lsof)?.[1], /^c(.+)/m.exec(lsof)?.[1]]
  if (pid) return `${command ?? 'a process'} (pid ${pid})`
  const ss = await ask('ss', ['-Hltnp', `sport = :${port}`])
  const [, name, id] = /users:\(\("([^"]+)",pid=(\d+)/.exec(ss) ?? []
  return name && id ? `${name} (pid ${id})` : 'another process'
}
