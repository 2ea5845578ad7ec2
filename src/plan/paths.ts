import type { Entry } from '../journal-records.ts'
import type { ClusterService, Mesh } from './mesh.ts'

/** Whether a service was reachable before onehop came: by a port map, and perhaps through Caddy. */
export const hasOldPath = (service: ClusterService) => service.oldPath !== 'none'

/** The ports on which the device answers: the Service's own, or 443 alone. */
export const devicePorts = ({ mode, ports }: ClusterService) =>
  mode === 'https' ? ports.map((each) => ({ ...each, port: 443 })) : ports

/** The Ingress that exposes a service in https mode, in the namespace of its Service. */
export const ingressName = (service: ClusterService) => `onehop-${service.name}`

/** What it asks of the operator. */
export const ingressWish = ({ hostname, tag, object, ports }: ClusterService) => ({
  hostname,
  tag,
  service: object,
  port: ports[0]?.port ?? 0,
})

/** By which the operator's proxies are listed: it makes one for a Service or for an Ingress. */
export const proxyKey = (service: ClusterService) =>
  service.mode === 'https' ? `ingress:${service.namespace}/${ingressName(service)}` : service.service

/** A Caddy route that moves: in `site`, upstream `from` (the port map) becomes `to` (the device name). */
export type RouteEdit = { site: string; from: string; to: string }

/** The device's full DNS name, without a trailing dot. */
export const deviceName = (mesh: Mesh, service: ClusterService) => `${service.hostname}.${mesh.tailnet}`

/** The annotations that expose a service; each service has its own tag from the first day, since the operator reads tags only once. */
export const exposeAnnotations = (
  service: Pick<ClusterService, 'hostname' | 'tag'>,
): Record<string, string> => ({
  'tailscale.com/expose': 'true',
  'tailscale.com/hostname': service.hostname,
  'tailscale.com/tags': service.tag,
})

/**
 * By which paths clients may be told to come, by the journal's entry of a service: those that answer now and are not about
 * to go. Where the old path is retired or being retired that is the device name alone, until the port map is proven again.
 */
export function advertised(entry: Entry | undefined): Record<'portMap' | 'oldUrl' | 'device', boolean> {
  if (!entry) return { portMap: true, oldUrl: true, device: false }
  const { state, changes, fellBack } = entry
  const stands = (id: string) => changes.some((each) => each.id === id && !each.undone)
  const retiring = state === 'retiring' || state === 'retired'
  const isGone = stands('type') || stands('route')
  return {
    portMap: !retiring && !stands('type'),
    oldUrl: !retiring && !isGone,
    device: retiring || isGone || (state === 'moved' && !fellBack),
  }
}

/**
 * The Caddy routes that mesh.yaml names for a service. In https mode they stay on the port map until they are retired: the
 * new URL is another one, with a certificate of its own, and Caddy would only stand before it.
 */
export function routesOf(mesh: Mesh, service: ClusterService): RouteEdit[] {
  return Object.entries(service.routes).map(([site, port]) => {
    const from = `localhost:${service.ports.find((each) => each.port === port)?.portMap ?? port}`
    return { site, from, to: service.mode === 'https' ? from : `${deviceName(mesh, service)}:${port}` }
  })
}

/** How a client reaches each port: by the old URL (through Caddy, where there is a route), the port map (where there is one), and the device name. */
export function pathsOf(mesh: Mesh, service: ClusterService): ServicePath[] {
  const scheme = service.probe === 'redis' ? 'redis://' : service.probe === 'tcp' ? 'tcp://' : 'http://'
  return service.ports.map(({ port, portMap }) => {
    const site = Object.entries(service.routes).find(([, routed]) => routed === port)?.[0]
    return {
      port,
      ...(hasOldPath(service) && { portMap: `localhost:${portMap}` }),
      device:
        service.mode === 'https'
          ? `https://${deviceName(mesh, service)}`
          : `${scheme}${deviceName(mesh, service)}:${port}`,
      ...(site !== undefined && { oldUrl: site }),
    }
  })
}

export type ServicePath = { port: number; portMap?: string; device: string; oldUrl?: string }
