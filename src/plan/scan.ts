import { type Engine, findEngine } from './scan-engine.ts'
import { type FoundHost, hostsBehindCaddy } from './scan-hosts.ts'
import type { Answers, Inventory } from './scan-inventory.ts'
import { nameServices } from './scan-names.ts'
import { mapPorts, portMapsToAsk } from './scan-port-maps.ts'
import type { Question } from './scan-questions.ts'
import { localRoutes } from './scan-routes.ts'
import { type FoundService, foundService, livePort, undecidedService } from './scan-service.ts'
import { adoptWishes } from './scan-wishes.ts'

/** What a first mesh.yaml is made of: what could be decided, and questions about the rest. */
export function scanMesh(inventory: Inventory, answers: Answers): Found {
  const { routes, elsewhere } = localRoutes(inventory)
  const mapped = mapPorts(inventory, new Set(routes.map(({ port }) => port)))
  const names = nameServices(mapped.map(({ facts }) => facts))
  const named = mapped.map((each, index) => ({ ...each, name: names[index] ?? each.facts.name }))
  const wishes = adoptWishes(named)
  const all = named.map((each) => ({ ...each, wish: wishes.get(each.name) ?? {} }))
  const isLive = ({ ports }: (typeof all)[number]) =>
    ports.some((port) => livePort(port, answers) !== undefined)
  const services = all.filter(isLive).map((each) => foundService(each, { inventory, answers, routes }))
  const engine = findEngine(services, answers)
  const portMaps = new Set(services.flatMap(({ ports }) => ports.map(({ portMap }) => portMap)))
  const { hosts, questions } = hostsBehindCaddy(inventory, { routes, portMaps, names })
  return {
    services: services.map((each) =>
      each.name === engine.service ? { ...each, engine: engine.why ?? '' } : each,
    ),
    hosts,
    engine,
    questions: [...all.filter((each) => !isLive(each)).map(undecidedService), ...questions],
    elsewhere,
  }
}

/** Which ports of this machine must be asked for that: what port maps speak, and whether anything listens behind Caddy's other upstreams. */
export function portsToAsk(inventory: Inventory): { portMaps: number[]; others: number[] } {
  const dialled = new Set(localRoutes(inventory).routes.map(({ port }) => port))
  const portMaps = portMapsToAsk(mapPorts(inventory, dialled))
  const known = new Set([...portMaps, ...(inventory.listeners ?? []).map(({ port }) => port)])
  return { portMaps, others: [...dialled].filter((port) => !known.has(port)) }
}

export type Found = {
  services: FoundService[]
  hosts: FoundHost[]
  engine: Engine
  /** About Services and ports of this machine that are not among the above. */
  questions: Question[]
  /** Upstreams of Caddy that are not on this machine. */
  elsewhere: string[]
}
