import { appId } from '../inngest.config.ts'
import { messageOf } from './errors.ts'
import type { EngineLink } from './metrics.ts'
import { createEngine } from './systems/engine.ts'
import { callHttp } from './systems/http-call.ts'
import { aborted, pause } from './watch.ts'

/**
 * Registers the functions with the engine, and again whenever it does not know them, until `signal`: the engine polls no
 * apps, so it learns of ours, and learns of them again after it forgot, only by our own PUT. `own` is the serve endpoint as
 * seen from this machine, `origin` is engine.serveOrigin.
 */
export async function keepRegistered({ engine, own, origin, link, signal, log }: Options): Promise<void> {
  let registered = false
  let said = ''
  link.connected = () => registered
  while (!signal.aborted) {
    const known = registered && (await knows(engine, origin))
    if (!known) {
      const problem = await Promise.race([register(own), aborted(signal)])
      if (signal.aborted) return
      registered = problem === undefined
      const line = problem ?? 'registered with the engine'
      if (line !== said || registered) log(line)
      said = line
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

/** Why the engine has not taken us: what it, or the SDK for it, answered. */
async function register(own: string): Promise<string | undefined> {
  try {
    const answer = await callHttp(own, { method: 'PUT' })
    if (answer.ok) return undefined
    const body = answer.text.replace(/\s+/g, ' ').slice(0, 500)
    return `not registered with the engine: HTTP ${answer.status} ${body}`
  } catch (thrown) {
    return `the serve endpoint ${own} cannot be reached: ${messageOf(thrown)}`
  }
}

/** Whether the engine lists our app at our address; an engine that is away knows nothing. */
async function knows(url: string, origin: string): Promise<boolean> {
  const apps = await createEngine({ url })
    .apps()
    .catch(() => [])
  return apps.some((each) => each.name === appId && each.url?.startsWith(origin))
}
