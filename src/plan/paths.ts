import type { ClusterService, Mesh } from './mesh.ts'

/** A Caddy route that moves: in `site`, upstream `from` (the port map) becomes `to` (the device name). */
export type RouteEdit = { site: string; from: string; to: string }

/** The device's full DNS name, without a trailing dot. */
export const deviceName = (mesh: Mesh, service: ClusterService) => `${service.hostname}.${mesh.tailnet}`

/** The Caddy routes that mesh.yaml names for a service. */
export function routesOf(mesh: Mesh, service: ClusterService): RouteEdit[] {
  return Object.entries(service.routes).map(([site, port]) => ({
    site,
    from: `localhost:${service.ports.find((each) => each.port === port)?.portMap ?? port}`,
    to: `${deviceName(mesh, service)}:${port}`,
  }))
}

/** How a client reaches each port: by the old URL (through Caddy, where there is a route), the port map, and the device name. */
export function pathsOf(mesh: Mesh, service: ClusterService): ServicePath[] {
  const scheme = service.probe === 'redis' ? 'redis://' : service.probe === 'tcp' ? 'tcp://' : 'http://'
  return service.ports.map(({ port, portMap }) => {
    const site = Object.entries(service.routes).find(([, routed]) => routed === port)?.[0]
    return {
      port,
      portMap: `localhost:${portMap}`,
      device: `${scheme}${deviceName(mesh, service)}:${port}`,
      ...(site !== undefined && { oldUrl: site }),
    }
  })
}

export type ServicePath = { port: number; portMap: string; device: string; oldUrl?: string }
