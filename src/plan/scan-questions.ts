import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import { hasVariable } from './caddyfile.ts'
import type { Inventory, Spoken } from './scan-inventory.ts'
import type { MappedPort } from './scan-port-maps.ts'
import type { LocalRoute } from './scan-routes.ts'

/** What scan cannot decide. `draft` are lines of YAML that one of the choices would take. */
export type Question = { ask: string; choices: string[]; draft?: string[] }

/** A port that one of this machine leads to, and what it said. */
type LivePort = MappedPort & { portMap: number; spoken: Spoken }

export function portMapQuestions(live: LivePort[], { docker, cluster, listeners }: Inventory): Question[] {
  const guessed = live.filter(({ maps }) => maps.length === 0)
  const assumed = live.filter((each) => each.assumed)
  const numbers = (ports: LivePort[]) => ports.map(({ port }) => port).join(', ')
  const answering = guessed.map(({ portMap }) => {
    const process = listeners?.find((each) => each.port === portMap)?.process
    return `localhost:${portMap}${process ? ` (${process})` : ''}`
  })
  const known = docker ? 'Docker maps nothing to it' : 'Docker could not be asked'
  return [
    ...(guessed.length > 0
      ? [
          isItTheWay(
            `${known}; something answers at ${answering.join(' and ')}, and was taken for the way to`,
            numbers(guessed),
          ),
        ]
      : []),
    ...(assumed.length > 0
      ? [
          isItTheWay(
            `no running container has the name of a node (${cluster.nodes.join(', ') || 'unknown'}), so that of ${assumed[0]?.maps[0]?.container ?? 'another container'} was taken for the way to`,
            numbers(assumed),
          ),
        ]
      : []),
    ...live
      .filter(({ maps }) => maps.length > 1)
      .map(({ port, portMap, maps }) => ({
        ask: `ports ${maps.map(({ hostPort }) => hostPort).join(' and ')} of this machine all lead to port ${port}. By which one is the old path proven?`,
        choices: [
          `${portMap}, as written`,
          ...maps.slice(1).map(({ hostPort }) => `portMap: ${hostPort} at port ${port}`),
        ],
      })),
  ]
}

const isItTheWay = (guess: string, ports: string): Question => ({
  ask: `${guess} port ${ports}. Is it?`,
  choices: ['yes: leave it', 'no: portMap: the port of this machine that is, or take the port out of ports'],
})

export function deadPortQuestion({ port, protocol, nodePort, holder }: MappedPort): Question {
  if (protocol !== 'TCP')
    return {
      ask: `port ${port}/${protocol} is left out: onehop proves TCP alone. Its device forwards it all the same; may whoever is in allow reach it?`,
      choices: ['no: nothing to do', 'yes: write that rule into the policy by hand'],
    }
  const why = holder
    ? `and port ${nodePort} of this machine is that of container ${holder}`
    : `and localhost:${nodePort} is silent`
  return {
    ask: `port ${port} (node port ${nodePort}) is left out: nothing on this machine maps to it, ${why}. Is it in use?`,
    choices: [
      'no: nothing to do',
      `yes, by another port of this machine: add { port: ${port}, portMap: THAT PORT } to ports`,
    ],
  }
}

export function probeQuestions(live: Array<MappedPort & { portMap: number; spoken: Spoken }>): Question[] {
  // An Inngest server has one port for its API and one that takes workers' connections, which speaks nothing else.
  const isEngine = live.some(({ spoken }) => 'inngest' in spoken && spoken.inngest)
  const of = (kind: Spoken['kind']) => live.filter(({ spoken }) => spoken.kind === kind)
  const list = (ports: LivePort[]) => ports.map(({ port }) => port).join(', ')
  const [silent, tcp] = [of('silent'), isEngine ? [] : of('tcp')]
  return [
    ...(silent.length === 0
      ? []
      : [
          {
            ask: `port ${list(silent)} did not answer at all now (localhost:${silent.map(({ portMap }) => portMap).join(', ')}), so that tcp is a guess. What does it speak?`,
            choices: [
              'probe: tcp',
              'probe: redis',
              'probe: { http: /PATH }, with a path that answers below 400',
            ],
          },
        ]),
    ...(tcp.length === 0
      ? []
      : [
          {
            ask: `port ${list(tcp)} accepts, and answers neither PING nor GET /health nor GET / below 400. A port map accepts even where nothing is behind it; does it speak HTTP at some other path?`,
            choices: ['no, or unknown: leave it at tcp', 'yes: probe: { http: /PATH }'],
          },
        ]),
  ]
}

export function sharedPortQuestions(movable: Array<LocalRoute & { to: number }>): Question[] {
  const ports = [...new Set(movable.map(({ to }) => to))]
  return ports.flatMap((port) => {
    const sites = movable.filter(({ to }) => to === port).map(({ site }) => site)
    if (sites.length < 2) return []
    return [
      {
        ask: `${sites.length} sites lead to port ${port}. Which of them move?`,
        choices: [
          'all, as written; the first is shown as its old URL',
          'take out of routes what shall stay on the port map',
        ],
      },
    ]
  })
}

export function obstacleQuestions(
  { site, port, line, obstacle, to }: LocalRoute & { to: number },
  { caddy }: Inventory,
): Question[] {
  if (obstacle === undefined) return []
  const place = line > 0 ? ` (line ${line})` : ''
  const moved = hasVariable(site)
    ? `yes: write the value that Caddy's own environment has in place of the variable in ${caddy.file}, and that address in routes`
    : line > 0
      ? 'yes: add it to routes'
      : `yes: write its reverse_proxy into a site block of ${caddy.file}, then add it to routes`
  return [
    {
      ask: `${site}${place} also leads to localhost:${port}, and is not in routes: ${obstacle}. Shall it move?`,
      choices: ['no: it stays on the port map, which can then not be retired', moved],
      // With a variable in it, no move finds the site.
      ...(!hasVariable(site) && { draft: [`routes: { ${JSON.stringify(site)}: ${to} }`] }),
    },
  ]
}

export function nameQuestions(hostname: string, facts: ServiceFacts, { tailnet }: Inventory): Question[] {
  const members = [...(tailnet?.members ?? []), ...(tailnet?.self ? [tailnet.self] : [])]
  const isTaken = members.some((each) => each.name === hostname)
  // Its own device, where it is exposed already.
  if (!isTaken || facts.annotations['tailscale.com/expose']?.value === 'true') return []
  return [
    {
      ask: `the tailnet has a device named ${hostname} already, and a name is given once. Which one keeps it?`,
      choices: ['the device: hostname: ANOTHER NAME here', 'this service: rename or delete that device'],
    },
  ]
}
