import type { Inngest, InngestFunction } from 'inngest'
import { ConnectionState, connect } from 'inngest/connect'
import { messageOf } from './errors.ts'
import type { EngineLink } from './metrics.ts'
import { aborted, pause } from './watch.ts'

/**
 * Keeps an app connected to the engine, outward, until `signal`; nothing has to reach this machine. Connect retries by
 * itself once it was connected; only the first attempt is ours to repeat.
 *
 * `gateway` is where the engine takes such connections; without it the engine says where: its own host, port 8289, no TLS.
 */
export async function keepConnected({
  client,
  functions,
  gateway,
  link = { connected: () => undefined },
  signal,
  log,
}: Options): Promise<void> {
  link.connected = () => false
  while (!signal.aborted) {
    // An engine that cannot be reached is no error to Connect: it tries for ever, and never says why.
    const slow = setTimeout(
      () => log('not connected yet: the engine cannot be reached, or refuses this app'),
      10_000,
    )
    try {
      const connecting = connect({
        apps: [{ client, functions }],
        handleShutdownSignals: [],
        ...(gateway && { gatewayUrl: gateway }),
      })
      const connection = await Promise.race([connecting, aborted(signal)]).finally(() => clearTimeout(slow))
      if (!connection) {
        // It is still trying, and would take work once it is through.
        connecting.then(
          (late) => late.close(),
          () => undefined,
        )
        return
      }
      log('connected to the engine')
      link.connected = () => connection.state === ConnectionState.ACTIVE
      await aborted(signal)
      await connection.close()
      return
    } catch (thrown) {
      log(`not connected to the engine: ${messageOf(thrown)}`)
      await pause(2000, signal)
    }
  }
}

type Options = {
  client: Inngest
  functions: InngestFunction.Any[]
  gateway?: string | undefined
  /** Is told whether the engine has us. */
  link?: EngineLink
  signal: AbortSignal
  log: (line: string) => void
}
