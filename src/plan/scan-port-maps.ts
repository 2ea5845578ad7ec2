import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Inventory } from './scan-inventory.ts'

/**
 * Each Service with node ports, and for each of those the ports of this machine that lead to it: by Docker's port maps,
 * else the same number on localhost, if that is free to be one. The one that Caddy dials comes first (`dialled`), then the
 * one with the Service's own number.
 */
export function mapPorts({ cluster, docker }: Inventory, dialled: ReadonlySet<number>): MappedService[] {
  const nodes = nodeContainers(docker ?? [], cluster.nodes)
  const published = (docker ?? []).flatMap(({ name, maps }) =>
    maps.map((map) => ({ ...map, container: name })),
  )
  const mapsOf = (port: ServiceFacts['ports'][number], nodePort: number): PortMap[] => {
    const protocol = (port.protocol ?? 'TCP').toLowerCase()
    const found = published.filter(
      (each) =>
        nodes.names.has(each.container) &&
        each.protocol === protocol &&
        each.containerPort === nodePort &&
        isLocalAddress(each.hostAddress),
    )
    const ports = new Map(found.map(({ hostPort, container }) => [hostPort, { hostPort, container }]))
    return [...ports.values()].toSorted((a, b) => rank(a.hostPort) - rank(b.hostPort))

    function rank(hostPort: number): number {
      if (dialled.has(hostPort)) return -2
      return hostPort === port.port ? -1 : hostPort
    }
  }
  return cluster.services.flatMap((facts) => {
    const ports = facts.ports.flatMap((port): MappedPort[] => {
      const { nodePort } = port
      if (!nodePort) return []
      const maps = mapsOf(port, nodePort)
      const holder = published.find((each) => each.hostPort === nodePort && each.protocol === 'tcp')
      return [
        {
          port: port.port,
          nodePort,
          protocol: port.protocol ?? 'TCP',
          maps,
          assumed: nodes.assumed && maps.length > 0,
          ...(maps.length === 0 && (holder ? { holder: holder.container } : { perhaps: nodePort })),
        },
      ]
    })
    return ports.length > 0 ? [{ facts, ports }] : []
  })
}

export type PortMap = { hostPort: number; container: string }
export type MappedPort = {
  port: number
  nodePort: number
  protocol: string
  maps: PortMap[]
  /** No container is known to be a node of the cluster, so that of any was taken. */
  assumed: boolean
  /** The port of this machine that may lead there without a port map of Docker: nobody has published it. */
  perhaps?: number
  /** The container that has published that port for something else. */
  holder?: string
}
export type MappedService = { facts: ServiceFacts; ports: MappedPort[] }

/** The port of this machine by which a node port is reached, as far as it is known before it is asked. */
export const likelyPort = ({ maps, perhaps }: MappedPort) => maps[0]?.hostPort ?? perhaps

/** Which ports of this machine have to be asked what they speak. */
export const portMapsToAsk = (services: MappedService[]): number[] => [
  ...new Set(
    services.flatMap(({ ports }) =>
      ports.flatMap((each) => (each.protocol === 'TCP' ? (likelyPort(each) ?? []) : [])),
    ),
  ),
]

/** A port map of another container says nothing of the cluster, though its number may be that of a node port. */
function nodeContainers(containers: NonNullable<Inventory['docker']>, nodes: string[]) {
  const known = containers.filter(({ name, isNode }) => isNode || nodes.includes(name))
  const names = new Set((known.length > 0 ? known : containers).map(({ name }) => name))
  return { names, assumed: known.length === 0 }
}

/** Whether what is published on an address answers on localhost. */
const isLocalAddress = (address: string) =>
  ['', '0.0.0.0', '::', '[::]', '::1'].includes(address) || address.startsWith('127.')
