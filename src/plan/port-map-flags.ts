import type { Entry } from '../journal-records.ts'
import type { TypeState } from '../steps/set-service-type.ts'
import { isClusterService, type Mesh } from './mesh.ts'
import { hasOldPath } from './paths.ts'
import { standingChange } from './states.ts'

/**
 * Which Docker port maps the next cluster needs, and which it no longer does: those of retired services. The flag is that
 * of `talosctl cluster create docker` (Talos 1.12 and later; before, `talosctl cluster create`):
 * `--exposed-ports hostPort:containerPort/protocol,...`, where the container's port is the nodePort.
 */
export function portMapFlags(maps: PortMap[]): PortMapFlags {
  const written = (kept: boolean) =>
    maps
      .filter(({ retired }) => retired !== kept)
      .map(({ service, portMap, nodePort, protocol = 'tcp' }) => ({
        service,
        map: `${portMap}:${nodePort}/${protocol}`,
      }))
  const [needed, dropped] = [written(true), written(false)]
  const list = [...new Set(needed.map(({ map }) => map))].join(',')
  const flags = list === '' ? [] : ['--exposed-ports', list]
  return { needed, dropped, flags, command: ['talosctl', 'cluster', 'create', 'docker', ...flags].join(' ') }
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
          retired: entry?.state === 'retired',
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
  needed: Array<{ service: string; map: string }>
  dropped: Array<{ service: string; map: string }>
  flags: string[]
  command: string
}
