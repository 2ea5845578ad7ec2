import { type CaddyVariable, namedVariables } from './caddy-variables.ts'
import { diffAdapted } from './caddyfile.ts'
import type { Found } from './scan.ts'
import { beside, comment, question, scalar, width } from './scan-comments.ts'
import type { FoundHost } from './scan-hosts.ts'
import type { Inventory } from './scan-inventory.ts'
import type { Question } from './scan-questions.ts'
import type { FoundService, Probe } from './scan-service.ts'

/**
 * What scan found as the text of a mesh.yaml, for people to go on with: questions are comments that begin with `# ?`, each
 * with its choices. Where services were found, it is one that `parseMesh` takes.
 */
export function renderMesh(inventory: Inventory, found: Found): string {
  const lines = [
    ...head(inventory),
    '',
    ...clusterLines(inventory),
    ...tailnetLines(inventory),
    ...operatorLines(),
    ...caddyLines(inventory),
    ...engineLines(found),
    '',
    ...allowLines(inventory),
    'services:',
    ...found.services.flatMap((each) => serviceLines(each, allowed(inventory))),
    ...found.hosts.flatMap(hostLines),
    ...found.questions.flatMap((each) => ['', ...question(each, '  ')]),
    ...elsewhereLines(found),
  ]
  return `${lines.join('\n')}\n`
}

/** The release that this onehop is tested with. */
const operatorVersion = '1.102.4'

function head({ cluster, docker, caddy, tailnet, listeners, unread }: Inventory): string[] {
  const { context, namespaces, services } = cluster
  const where = namespaces.length === 0 ? 'all namespaces' : `namespace ${namespaces.join(', ')}`
  const read = [
    `the Services of context ${context} in ${where} (${services.length})`,
    ...(docker ? ['the port maps of Docker'] : []),
    ...(caddy.text === undefined ? [] : [caddy.file]),
    ...(caddy.running === undefined ? [] : ['what Caddy runs']),
    ...(tailnet && tailnet.members.length > 0
      ? [`${tailnet.members.length + 1} machines of the tailnet`]
      : []),
    ...(listeners ? ['who listens on this machine'] : []),
  ]
  return [
    ...comment('A first mesh.yaml by onehop scan, from what is there. Nothing was changed.'),
    ...comment(
      '"# ?" is a question that scan cannot decide: what stands there is a guess. Then: onehop plan',
    ),
    ...comment(`Read: ${read.join('; ')}.`),
    ...(unread.length > 0 ? ['#', ...comment('Not read, so that this file may lack what is there:')] : []),
    ...unread.flatMap(({ what, why }) => comment(`- ${what}: ${why}`)),
  ]
}

function clusterLines({ cluster: { context, from, kubeconfig } }: Inventory): string[] {
  const entries = [
    `context: ${scalar(context)}`,
    ...(kubeconfig ? [`kubeconfig: ${scalar(kubeconfig)}`] : []),
  ]
  return [`kubernetes: { ${entries.join(', ')} }${beside(from)}`]
}

function tailnetLines({ tailnet }: Inventory): string[] {
  const files = [
    ...comment(
      "onehop's own OAuth client, never the operator's. Write: policy_file; read: devices:core, dns. Its id in the one file, its secret in the other, mode 0600.",
      '  ',
    ),
    ...credentials('onehop'),
  ]
  if (!tailnet)
    return [
      ...question({
        ask: 'The tailnet is not known. Which one is it?',
        choices: ['its DNS name, from the admin console or tailscale status, instead of the one below'],
      }),
      'tailnet: your-tailnet.ts.net',
      'tailscale:',
      ...files,
    ]
  return [
    `tailnet: ${scalar(tailnet.name)}${beside(tailnet.from)}`,
    ...(tailnet.self ? [`machine: ${scalar(tailnet.self.name)} # this one`] : []),
    'tailscale:',
    ...files,
  ]
}

const operatorLines = () => [
  'operator:',
  `  version: ${operatorVersion} # the release that this onehop is tested with`,
  '  repository: https://pkgs.tailscale.com/helmcharts',
  ...comment(
    "The operator's OAuth client. Write: Devices Core, Auth Keys; tag: tag:k8s-operator. In files as above.",
    '  ',
  ),
  ...credentials('operator'),
]

function credentials(who: string): string[] {
  return [
    '  credentials:',
    `    clientIdFile: ~/.config/onehop/${who}-client-id`,
    `    clientSecretFile: ~/.config/onehop/${who}-client-secret`,
  ]
}

function caddyLines({ caddy: { file, admin, text, adapted, running, variables } }: Inventory): string[] {
  const entries = [
    `file: ${scalar(file)}`,
    ...(admin === 'http://localhost:2019' ? [] : [`admin: ${scalar(admin)}`]),
  ]
  const [drift] = adapted !== undefined && running !== undefined ? diffAdapted(adapted, running) : []
  return [
    ...(text === undefined
      ? question({
          ask: 'No Caddyfile was read. Where is it?',
          choices: ['file: its path'],
        })
      : []),
    ...(drift ? question(driftQuestion(file, drift.path, variables ?? [])) : []),
    `caddy: { ${entries.join(', ')} }`,
  ]
}

/** Whether the file is right cannot be known from here, so that no choice makes Caddy load it. */
function driftQuestion(file: string, path: string, variables: CaddyVariable[]): Question {
  if (variables.length > 0)
    return {
      ask: `With the values that they have here, this file is not what Caddy runs (${path}). What does Caddy's own environment have for ${namedVariables(file, variables)}?`,
      choices: [
        'the values are known: give the same ones to scan and to the worker, then scan again',
        'they are the same here: the file and what Caddy runs differ in something else; make them equal',
      ],
    }
  return {
    ask: `Caddy runs another config than this file (${path}). Which one is right?`,
    choices: [
      'the file: see that Caddy runs it, then scan again',
      'what runs: correct the file',
      'both: another file is loaded; name that one',
    ],
  }
}

function engineLines({ engine }: Found): string[] {
  return [
    'engine:',
    ...engine.questions.flatMap((each) => question(each, '  ')),
    `  url: ${scalar(engine.url)}${engine.service ? beside(`the port map of ${engine.service}`) : ''}`,
    '  eventKeyFile: ~/.config/onehop/inngest-event-key # the value of its --event-key; mode 0600',
    '  signingKeyFile: ~/.config/onehop/inngest-signing-key # the value of its --signing-key; mode 0600',
  ]
}

/** Who may reach the device names until the user says more: this machine, or nobody that onehop would write a rule for. */
const allowed = ({ tailnet }: Inventory): string[] => (tailnet?.self ? [tailnet.self.name] : [])

function allowLines({ tailnet }: Inventory): string[] {
  const members = (tailnet?.members ?? []).map(({ name, tags }) => `${name}${tags[0] ? ` (${tags[0]})` : ''}`)
  const [shown, more] = [members.slice(0, 40), members.length - 40]
  const others = `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  return question({
    ask: tailnet?.self
      ? `Who shall reach the services by their names on the tailnet? Now each has only ${tailnet.self.name}, from which Caddy and the proofs come.`
      : 'Who shall reach the services by their names on the tailnet? Now none has allow, so that the policy is yours to write.',
    choices: [
      `${tailnet?.self ? 'more machines' : 'machines of the tailnet'} in allow${members.length > 0 ? `: ${others}` : ''}`,
      'tags, groups and people of the policy: tag:NAME, group:NAME, NAME@DOMAIN',
      "no allow at all: then onehop leaves the policy alone, and each service's tag must be owned by tag:k8s-operator there",
    ],
  })
}

function serviceLines(found: FoundService, allow: string[]): string[] {
  const { name, service, hostname, tag, ports, routes, engine, notes, questions } = found
  const [first] = ports
  const general = first?.probe ?? 'tcp'
  const sites = Object.entries(routes).map(([site, port]) => `${JSON.stringify(site)}: ${port}`)
  const inOneLine = `    routes: { ${sites.join(', ')} }`
  return [
    `  ${scalar(name)}:`,
    ...notes.flatMap((note) => comment(note, '    ')),
    ...questions.flatMap((each) => question(each, '    ')),
    `    service: ${service}`,
    ...(hostname === undefined ? [] : [`    hostname: ${scalar(hostname)}`]),
    ...(tag === undefined ? [] : [`    tag: ${tag}`]),
    `    ports: [${ports.map((each) => portEntry(each, general)).join(', ')}]${mapNote(ports)}`,
    `    probe: ${probeText(general)}`,
    ...(engine === undefined ? [] : [`    engine: true${beside(`${engine}; it goes last`)}`]),
    ...(sites.length === 0
      ? []
      : inOneLine.length <= width
        ? [inOneLine]
        : ['    routes:', ...sites.map((each) => `      ${each}`)]),
    ...(allow.length === 0 ? [] : [`    allow: [${allow.map(scalar).join(', ')}]`]),
  ]
}

function portEntry(
  { port, portMap, nodePort, probe }: FoundService['ports'][number],
  general: Probe,
): string {
  const more = [
    ...(portMap === port ? [] : [`portMap: ${portMap}`]),
    // The port-map flags of the next cluster are made of it.
    ...(nodePort === port ? [] : [`nodePort: ${nodePort}`]),
    ...(probeText(probe) === probeText(general) ? [] : [`probe: ${probeText(probe)}`]),
  ]
  return more.length === 0 ? String(port) : `{ port: ${port}, ${more.join(', ')} }`
}

/** The numbers that differ are the ones that are mixed up. */
function mapNote(ports: FoundService['ports']): string {
  const uneven = ports.flatMap((each) =>
    each.container !== undefined && each.portMap !== each.port
      ? [{ ...each, container: each.container }]
      : [],
  )
  const maps = uneven.map(({ portMap, nodePort }) => `${portMap} to ${nodePort}`)
  return uneven[0] ? beside(`container ${uneven[0].container} maps ${maps.join(', ')}`) : ''
}

const probeText = (probe: Probe) => (typeof probe === 'string' ? probe : `{ http: ${probe.http} }`)

function hostLines({ name, host, note }: FoundHost): string[] {
  const line = `  ${scalar(name)}: { host: ${scalar(host)}, keep: caddy }`
  const whole = `${line}${beside(note)}`
  return whole.length <= width ? [whole] : [...comment(note, '  '), line]
}

const elsewhereLines = ({ elsewhere }: Found): string[] =>
  elsewhere.length === 0
    ? []
    : [
        '',
        ...comment(
          `Caddy also leads to what is not on this machine, and stays as it is: ${elsewhere.join(', ')}`,
          '  ',
        ),
      ]
