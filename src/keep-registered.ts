import { appId } from '../inngest.config.ts'
import { messageOf } from './errors.ts'
import type { EngineLink } from './metrics.ts'
import { isCalledAt } from './plan/called-at.ts'
import type { Register } from './registration.ts'
import { createEngine } from './systems/engine.ts'
import { aborted, pause } from './watch.ts'

/**
 * Registers the functions with the engine, and again whenever it does not know them, until `signal`: the engine polls no
 * apps, so it learns of ours, and learns of them again after it forgot, only from us. `endpoint` is where it is to call them.
 */
export async function keepRegistered({
  engine,
  register,
  endpoint,
  link,
  signal,
  log,
}: Options): Promise<void> {
  let registered = false
  let said = ''
  link.connected = () => registered
  while (!signal.aborted) {
    const known = registered && (await knows(engine, endpoint))
    if (!known) {
      const problem = await Promise.race([problemOf(register), aborted(signal)])
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
  register: Register
  endpoint: string
  /** Is told whether the engine has us. */
  link: EngineLink
  signal: AbortSignal
  log: (line: string) => void
}

/** Why the engine has not taken us: what it, or the SDK for it, answered. */
async function problemOf(register: Register): Promise<string | undefined> {
  try {
    const answer = await register()
    if (answer.ok) return undefined
    const body = (await answer.text()).replace(/\s+/g, ' ').slice(0, 500)
    return `not registered with the engine: HTTP ${answer.status} ${body}`
  } catch (thrown) {
    return `not registered with the engine: ${messageOf(thrown)}`
  }
}

/** Whether the engine lists our app at our address; an engine that is away knows nothing. */
async function knows(url: string, endpoint: string): Promise<boolean> {
  const apps = await createEngine({ url })
    .apps()
    .catch(() => [])
  return apps.some((each) => each.name === appId && isCalledAt(each.url, endpoint))
}
