import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'

/**
 * Whether the system's resolver answers anything about a host, if only that there is none. The system's own look-up cannot
 * be given up, and a process does not end before it has: against a name server that is silent (this machine's is
 * tailscaled's) that takes 10 s and more. This question can be given up. `servers` are others than the system's.
 */
export async function resolverAnswers(
  host: string,
  { milliseconds, servers }: { milliseconds: number; servers?: string[] },
): Promise<boolean> {
  if (isIP(host.replace(/^\[|\]$/g, '')) !== 0 || host === 'localhost') return true
  const resolver = new Resolver({ timeout: milliseconds, tries: 1 })
  if (servers) resolver.setServers(servers)
  return resolver.resolve4(host).then(
    () => true,
    (thrown: NodeJS.ErrnoException) => thrown.code !== 'ETIMEOUT',
  )
}
