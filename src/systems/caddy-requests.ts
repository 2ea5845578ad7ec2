import { type RequestCounts, requestCountsOf } from '../plan/request-counts.ts'
import { createCaddyAdmin } from './caddy-admin.ts'

/** How many requests Caddy has served per server since its config was last loaded. */
export function createCaddyRequests({ admin, file }: { admin: string; file: string }) {
  const { running, metrics } = createCaddyAdmin({ admin, file })
  return {
    /**
     * Undefined where Caddy does not count: no `metrics` in its config, or nothing counted at all. `siteRequests` gives
     * the count of one site.
     *
     * @throws OnehopError caddy-unreachable
     */
    async requestCounts(): Promise<RequestCounts | undefined> {
      const [config, text] = [await running(), await metrics()]
      return requestCountsOf(text, config)
    },
  }
}
