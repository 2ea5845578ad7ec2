import type { Entry } from '../journal-records.ts'
import type { TypeState } from '../steps/set-service-type.ts'
import type { Container } from '../systems/docker.ts'
import { isClusterService, type Mesh } from './mesh.ts'
import { hasOldPath } from './paths.ts'
import { standingChange } from './states.ts'

/**
 * Which Docker port maps the next cluster needs, and which it no longer does: those of retired services. What else the
 * nodes of this cluster publish is needed too, where `containers` tell it; else the flag covers mesh.yaml's services
 * alone. It is that of `talosctl cluster create docker` (Talos 1.12 and later; before, `talosctl cluster create`):
 * `--exposed-ports hostPort:containerPort/protocol,...`, where the container's port is the nodePort.
 */
export function portMapFlags(maps: PortMap[], containers: Container[] = []): PortMapFlags {
  const written = (kept: boolean) =>
    maps
      .filter(({ retired }) => retired !== kept)
      .map(({ service, portMap, nodePort, protocol = 'tcp' }) => ({
        service,
        map: `${portMap}:${nodePort}/${protocol}`,
      }))
  const nodes = containers.filter(({ isNode }) => isNode)
  const [needed, dropped] = [[...written(true), ...publishedBeside(maps, nodes)], written(false)]
  const list = [...new Set(needed.map(({ map }) => map))].join(',')
  const flags = list === '' ? [] : ['--exposed-ports', list]
  return {
    ...{ needed, dropped, flags, covers: nodes.length > 0 ? 'Docker' : 'mesh.yaml' },
    command: ['talosctl', 'cluster', 'create', 'docker', ...flags].join(' '),
  }
}

/** What nodes publish beside these port maps. The ports of the APIs of Talos and Kubernetes are published by talosctl itself. */
function publishedBeside(maps: PortMap[], nodes: Container[]): Array<{ map: string }> {
  const own = ['50000/tcp', '6443/tcp']
  const known = new Set(maps.map(({ portMap, protocol = 'tcp' }) => `${portMap}/${protocol}`))
  return nodes
    .flatMap((node) => node.maps)
    .filter(
      ({ hostPort, containerPort, protocol }) =>
        !known.has(`${hostPort}/${protocol}`) && !own.includes(`${containerPort}/${protocol}`),
    )
    .map(({ hostAddress, hostPort, containerPort, protocol }) => {
      // Docker publishes on all addresses of IPv4 and of IPv6 apart.
      const address = ['', '0.0.0.0', '::'].includes(hostAddress) ? '' : `${hostAddress}:`
      return { map: `${address}${hostPort}:${containerPort}/${protocol}` }
    })
    .filter(({ map }, index, all) => all.findIndex((each) => each.map === map) === index)
}

/**
 * The port maps of mesh.yaml's services. The node port behind each is what stands in the cluster (`there`), or stood there
 * before it was retired, else what mesh.yaml says, or the port itself.
 */
export function portMapsOf(
  mesh: Mesh,
  entries: Entry[],
  there: Record<string, Array<{ port: number; nodePort?: number }>> = {},
): PortMap[] {
  return mesh.services
    .filter(isClusterService)
    .filter(hasOldPath)
    .flatMap(({ name, ports }) => {
      const entry = entries.find((each) => each.service === name)
      const retired = standingChange(entry, 'type')
      const known = (retired?.before as TypeState | undefined)?.ports ?? there[name] ?? []
      return ports.map(
        ({ port, portMap, nodePort = port }): PortMap => ({
          service: name,
          portMap,
          nodePort: known.find((each) => each.port === port)?.nodePort ?? nodePort,
          // A type that Helm owns stays, and its node port with it.
          retired: entry?.state === 'retired' && retired !== undefined,
        }),
      )
    })
}

/** `portMap` is the port of this machine, `nodePort` that of the cluster's node behind it. */
export type PortMap = {
  service: string
  portMap: number
  nodePort: number
  protocol?: 'tcp' | 'udp'
  retired: boolean
}
/** `flags` are arguments; `command` is the same as text, for the user to add the other flags to. */
export type PortMapFlags = {
  /** Without a service: published by a node for something that mesh.yaml does not name. */
  needed: Array<{ service?: string; map: string }>
  dropped: Array<{ service: string; map: string }>
  flags: string[]
  covers: 'Docker' | 'mesh.yaml'
  command: string
}
