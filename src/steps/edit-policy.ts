import pRetry from 'p-retry'
import { OnehopError } from '../errors.ts'
import type { Systems } from '../systems/systems.ts'

/**
 * Compare-and-swap of the whole policy by its ETag: if somebody else was faster, the edit is made again on theirs.
 *
 * @throws OnehopError policy-*, and what `change` throws
 */
export function editPolicy(
  tailscale: Systems['tailscale'],
  change: (text: string) => string | Promise<string>,
): Promise<void> {
  return pRetry(
    async () => {
      const { text, etag } = await tailscale.policy()
      const changed = await change(text)
      if (changed !== text) await tailscale.setPolicy({ text: changed, etag })
    },
    {
      retries: 4,
      minTimeout: 200,
      shouldRetry: ({ error }) => error instanceof OnehopError && error.code === 'policy-stale',
    },
  )
}
