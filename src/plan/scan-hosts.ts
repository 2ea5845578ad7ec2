import type { Inventory } from './scan-inventory.ts'
import { label, unused } from './scan-names.ts'
import type { Question } from './scan-questions.ts'
import type { LocalRoute } from './scan-routes.ts'

/**
 * The processes that Caddy dials on this machine, which stay as they are: what is no port map of a service (`portMaps`).
 * `names` are those of the services.
 */
export function hostsBehindCaddy(
  { listeners = [], docker = [], cluster }: Inventory,
  { routes, portMaps, names }: { routes: LocalRoute[]; portMaps: Set<number>; names: string[] },
): { hosts: FoundHost[]; questions: Question[] } {
  const used = new Set(names)
  const hosts: FoundHost[] = []
  const questions: Question[] = []
  for (const port of new Set(routes.map((each) => each.port))) {
    if (portMaps.has(port)) continue
    const sites = routes.filter((each) => each.port === port).map(({ site }) => site)
    const lead = `${sites.join(', ')} lead${sites.length > 1 ? '' : 's'} to localhost:${port}`
    const container = docker.find(({ maps }) => maps.some((map) => map.hostPort === port))
    const process = listeners.find((each) => each.port === port)
    if (container && (container.isNode || cluster.nodes.includes(container.name))) {
      const { containerPort } = container.maps.find(({ hostPort }) => hostPort === port) ?? {}
      questions.push({
        ask: `${lead}, which container ${container.name} maps to node port ${containerPort ?? port}, and no Service that was read has that. Whose is it?`,
        choices: [
          "nobody's: leave it out; the route stays as it is",
          'a Service in another namespace: scan again with that --namespace',
        ],
      })
      continue
    }
    // Where onehop's worker listens by default is where a worker of the user's usually does.
    const name = unused(port === 3111 ? 'worker' : container ? label(container.name) : `port-${port}`, used)
    if (container || process) {
      const who = container ? `container ${container.name}` : programOf(process?.process)
      hosts.push({ name, host: `127.0.0.1:${port}`, note: `${who}, behind ${sites.join(', ')}` })
    } else
      questions.push({
        ask: `${lead}, where nothing listens now. Is there a process at times?`,
        choices: ['no: leave it out; the route stays as it is', 'yes: uncomment it'],
        draft: [`${name}: { host: "127.0.0.1:${port}", keep: caddy }`],
      })
  }
  return { hosts, questions }
}

/** On Linux, the name of Node's first thread stands for its own. */
const programOf = (process: string | null | undefined) =>
  process === 'MainThread' ? 'node' : (process ?? 'an unknown process')

export type FoundHost = { name: string; host: string; note: string }
