import { isClusterService } from '../plan/mesh.ts'
import { hasOldPath } from '../plan/paths.ts'
import { siteRequests } from '../plan/request-counts.ts'
import { addSample } from '../plan/usage.ts'
import type { Setup } from '../setup.ts'

/**
 * Looks once who uses the old paths of the moved services: the port maps and the ports of the old URLs on this machine,
 * and Caddy's counters where it counts. `own` are our processes, which prove these paths and are nobody.
 */
export async function sampleUsage(setup: Setup, own: number[]): Promise<void> {
  const { mesh, systems, journal } = await setup.work()
  const moved = new Set(
    (await journal.list()).flatMap((each) => (each.state === 'moved' ? [each.service] : [])),
  )
  const services = mesh.services
    .filter(isClusterService)
    .filter((each) => moved.has(each.name) && hasOldPath(each))
  if (services.length === 0) return
  const portsOf = (service: (typeof services)[number]) => [
    ...service.ports.map((each) => each.portMap),
    ...Object.keys(service.routes).flatMap((site) => Number(/:(\d+)$/.exec(site)?.[1] ?? 443)),
  ]
  const at = Date.now()
  const [connections, counts] = await Promise.all([
    systems.sockets.connections(services.flatMap(portsOf)),
    systems.caddyRequests.requestCounts().catch(() => undefined),
  ])
  for (const service of services) {
    const ports = portsOf(service)
    const sites = Object.keys(service.routes).map((site) => counts && siteRequests(counts, site))
    const counted = sites.length > 0 && sites.every((each) => each !== undefined) ? sumOf(sites) : undefined
    const users = connections.filter(({ port, pid }) => ports.includes(port) && !own.includes(pid ?? -1))
    const options = { everySeconds: mesh.retire.every, own }
    const samples = addSample(
      await journal.readUsage(service.name),
      { at, users, ...(counted && { counted }) },
      options,
    )
    await journal.saveUsage(service.name, samples)
  }
}

type Counted = { since: number; requests: number; inFlight: number }

function sumOf(all: Array<Counted | undefined>): Counted {
  const each = all.filter((one) => one !== undefined)
  return {
    since: Math.max(...each.map((one) => one.since)),
    requests: each.reduce((sum, one) => sum + one.requests, 0),
    inFlight: each.reduce((sum, one) => sum + one.inFlight, 0),
  }
}
