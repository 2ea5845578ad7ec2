import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { Answers, Inventory, Spoken } from './scan-inventory.ts'
import { likelyPort, type MappedPort, type MappedService } from './scan-port-maps.ts'
import {
  deadPortQuestion,
  nameQuestions,
  obstacleQuestions,
  portMapQuestions,
  probeQuestions,
  type Question,
  sharedPortQuestions,
} from './scan-questions.ts'
import type { LocalRoute } from './scan-routes.ts'
import type { Wish } from './scan-wishes.ts'

/** A Service as mesh.yaml's `services` would have it, with those of its ports that a port of this machine leads to. */
export function foundService(
  { facts, ports, name, wish }: NamedService,
  { inventory, answers, routes }: Context,
): FoundService {
  const live = ports.flatMap((each) => {
    const portMap = livePort(each, answers)
    if (portMap === undefined) return []
    return [{ ...each, portMap, spoken: answers.get(portMap) ?? { kind: 'silent' as const } }]
  })
  const dead = ports.filter((each) => livePort(each, answers) === undefined)
  const ways = live.flatMap(({ port, portMap }) =>
    routes.filter((each) => each.port === portMap).map((route) => ({ ...route, to: port })),
  )
  const movable = ways.filter(({ obstacle }) => obstacle === undefined)
  const { hostname, tag } = wish
  return {
    name,
    service: `${facts.namespace}/${facts.name}`,
    ...(hostname !== undefined && { hostname }),
    ...(tag !== undefined && { tag }),
    ports: live.map(({ port, portMap, nodePort, maps, spoken }) => ({
      port,
      portMap,
      nodePort,
      probe: probeOf(spoken),
      ...(maps[0] && { container: maps[0].container }),
    })),
    routes: Object.fromEntries(movable.map(({ site, to }) => [site, to])),
    notes: ownerNotes(facts),
    questions: [
      ...portMapQuestions(live, inventory),
      ...dead.map(deadPortQuestion),
      ...probeQuestions(live),
      ...sharedPortQuestions(movable),
      ...ways.flatMap((each) => obstacleQuestions(each, inventory)),
      ...nameQuestions(hostname ?? name, facts, inventory),
    ],
  }
}

/** A Service of which scan does not know whether this machine has to do with it, as a question. */
export function undecidedService({ facts, name, ports }: NamedService): Question {
  const service = `${facts.namespace}/${facts.name}`
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => port)
  const numbers = ports.map(({ nodePort }) => nodePort).join(', ')
  const ask = `${service} has node port${ports.length > 1 ? 's' : ''} ${numbers}, and nothing on this machine is known to lead there. Is it a service of this mesh?`
  if (tcp.length === 0) return { ask, choices: ['no: onehop proves TCP alone'] }
  return {
    ask,
    choices: [
      'no: leave it out, as written',
      'yes, and it is only reached inside the cluster or at the address of a node: uncomment it',
      'yes, and a port of this machine leads there: uncomment it, with { port, portMap } for each port instead of oldPath',
    ],
    draft: [`${name}:`, `  service: ${service}`, `  ports: [${tcp.join(', ')}]`, '  oldPath: none'],
  }
}

/** The port of this machine that leads there: by a port map, or because something answers where one would be. */
export function livePort(port: MappedPort, answers: Answers): number | undefined {
  const number = likelyPort(port)
  if (port.protocol !== 'TCP' || number === undefined) return undefined
  return port.maps.length > 0 || (answers.get(number)?.kind ?? 'silent') !== 'silent' ? number : undefined
}

export type Probe = 'tcp' | 'redis' | { http: string }
export type FoundService = {
  name: string
  service: string
  hostname?: string
  tag?: string
  /** `container` maps it, where one does. */
  ports: Array<{ port: number; portMap: number; nodePort: number; probe: Probe; container?: string }>
  routes: Record<string, number>
  /** Why it was taken for the engine, only where it was. */
  engine?: string
  notes: string[]
  questions: Question[]
}
export type NamedService = MappedService & { name: string; wish: Wish }
type Context = { inventory: Inventory; answers: Answers; routes: LocalRoute[] }

function probeOf(spoken: Spoken): Probe {
  if (spoken.kind === 'redis') return 'redis'
  return spoken.kind === 'http' ? { http: spoken.path } : 'tcp'
}

function ownerNotes({ helmRelease, type, annotations }: ServiceFacts): string[] {
  const expose = annotations['tailscale.com/expose']
  return [
    ...(helmRelease === undefined
      ? []
      : [`owned by Helm release ${helmRelease}: a move leaves its type alone, and so does retire`]),
    ...(type === 'NodePort' ? [] : [`a ${type} with node ports: only a NodePort can be retired`]),
    ...(expose?.value === 'true'
      ? [`exposed already, by ${expose.manager}: onehop expose takes it over, and a rollback gives it back`]
      : []),
  ]
}
