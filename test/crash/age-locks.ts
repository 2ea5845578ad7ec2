import { readdirSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { caddyfile, world } from '../real/panda.ts'

/**
 * Makes the locks of a worker that is gone as old as they are after the 10 s for which they count as held: nothing else
 * would happen in these. Where the engine dials by connect they are waited for.
 */
export function ageLocks(): void {
  const state = join(world.panda.home, '.local/state/onehop')
  const then = Date.now() / 1000 - 11
  for (const folder of [state, join(state, 'services'), join(state, 'requests'), dirname(caddyfile)])
    for (const lock of readdirSync(folder).filter((each) => each.endsWith('.lock')))
      utimesSync(join(folder, lock), then, then)
}
