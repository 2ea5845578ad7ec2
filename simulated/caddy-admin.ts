import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** The admin API of a Caddy that runs `config`: its HTTP calls, as src/systems/caddy-admin.ts makes them. */
export function createMemoryCaddy(loaded: (before: unknown, after: unknown) => void) {
  let config: unknown = null
  let text = 'null'
  return {
    config: () => config,
    /** Caddy starts with a file, as after a power cut. */
    start(adapted: unknown) {
      config = adapted
      text = JSON.stringify(adapted)
    },
    call:
      (effect: Conditions['effect'], by: Process) =>
      (_admin: string, method: string, path: string, body?: string) =>
        effect(
          by,
          {
            system: 'caddy',
            what: `${method} ${path}`,
            writes: method === 'POST',
            lost: () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }),
            patience: 30,
            // It waits in a socket on the same machine, and the file's lock outlives its writer by more than that.
            onTheWay: method === 'POST' ? 4 : 1,
          },
          () => {
            if (method === 'GET') return { status: 200, body: `${text}\n` }
            const before = config
            text = body ?? 'null'
            config = JSON.parse(text)
            loaded(before, config)
            return { status: 200, body: '' }
          },
        ),
  }
}
