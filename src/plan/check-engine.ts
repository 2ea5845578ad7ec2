import { endpointOf, isCalledAt } from './called-at.ts'
import { bad, good, type Judge, wasRead } from './check-judge.ts'
import { publicUrl } from './public-url.ts'

/** The engine, and the worker that carries out what it asks. */
export const engineChecks = {
  'engine-answers': wasRead('engine-answers', ({ mesh }) => mesh.engine.url),
  'engine-key-files': wasRead('engine-key-files', ({ mesh: { engine } }) =>
    engine.eventKeyFile && engine.signingKeyFile
      ? ''
      : 'mesh.yaml names not both: the worker takes the others from its environment',
  ),
  'worker-answers': ({ mesh, facts }) => {
    const { listen } = mesh.worker
    return facts.worker ? good(listen) : bad({ listen })
  },
  'worker-engine': ({ mesh, facts }) => {
    const wanted = publicUrl(mesh.engine.url)
    const found = facts.worker?.engine ?? wanted
    return found === wanted ? good() : bad({ found, wanted })
  },
  'engine-has-worker': ({ mesh, facts: { app } }) => {
    const { url, serveOrigin } = mesh.engine
    if (!app) return bad({ message: `the engine at ${url} has no app of onehop` })
    if (app.error) return bad({ message: `the engine cannot use the worker: ${app.error}` })
    if (serveOrigin)
      return isCalledAt(app.url, endpointOf(serveOrigin, mesh.worker.path))
        ? good(`it calls ${serveOrigin}`)
        : bad({ message: `the engine calls the worker at ${app.url ?? 'no address'}, not at ${serveOrigin}` })
    return app.connected
      ? good('connected')
      : bad({ message: `the worker is not connected to the engine at ${url}` })
  },
} satisfies Record<string, Judge>
