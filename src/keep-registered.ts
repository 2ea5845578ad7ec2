import { appId } from '../inngest.config.ts'
import type { EngineLink } from './metrics.ts'
import { createEngine } from './systems/engine.ts'
import { pause } from './watch.ts'

/**
 * Registers the functions with the engine, and again whenever it does not know them, until `signal`: the engine polls no
 * apps, so it learns of ours, and learns of them again after it forgot, only by our own PUT. `own` is the serve endpoint as
 * seen from this machine, `origin` is engine.serveOrigin.
 */
export async function keepRegistered({ engine, own, origin, link, signal, log }: Options): Promise<void> {
  let registered = false
  link.connected = () => registered
  while (!signal.aborted) {
    const known = registered && (await knows(engine, origin))
    if (!known) {
      registered = await fetch(own, { method: 'PUT', signal: AbortSignal.timeout(10_000) }).then(
        (answer) => answer.ok,
        () => false,
      )
      log(registered ? 'registered with the engine' : 'the engine cannot be reached')
    }
    await pause(registered ? 5000 : 1000, signal)
  }
}

type Options = {
  engine: string
  own: string
  origin: string
  /** Is told whether the engine has us. */
  link: EngineLink
  signal: AbortSignal
  log: (line: string) => void
}

/** Whether the engine lists our app at our address; an engine that is away knows nothing. */
async function knows(url: string, origin: string): Promise<boolean> {
  const apps = await createEngine({ url })
    .apps()
    .catch(() => [])
  return apps.some((each) => each.name === appId && each.url?.startsWith(origin))
}
