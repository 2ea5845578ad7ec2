import { createHash } from 'node:crypto'
import { accessOfService } from './access-of-service.ts'
import { otherAnnotations } from './harmless.ts'
import { lookup } from './lookup.ts'
import { type ClusterService, type HostService, isClusterService, type Mesh, selectServices } from './mesh.ts'
import { exposeAnnotations, ingressName, proxyKey, routesOf } from './paths.ts'
import { type Plan, type PlannedService, planMesh } from './plan.ts'
import { isThere } from './policy.ts'
import type { Piece } from './policy-text.ts'
import type { Snapshot, WholeSnapshot } from './snapshot.ts'

/**
 * What a plan was made of, in words: the wishes and the facts that its changes and problems hang on. Times, latencies and
 * versions of objects are left out; `harmless` is what is worth a word when it differs, and no reason to plan anew.
 *
 * Also the planned changes themselves and the codes of the problems are among the facts, so that no difference that makes
 * another plan can be missed. Only a world that was read whole can be described: the rest would look as if it were not there.
 *
 * @throws OnehopError service-unknown
 */
export function describeWorld(
  mesh: Mesh,
  snapshot: WholeSnapshot,
  { names, plan = planMesh(mesh, snapshot, names) }: { names?: string[] | undefined; plan?: Plan } = {},
): World {
  const services = selectServices(mesh, names)
  const kept = names ? [] : mesh.services.filter((each) => !isClusterService(each))
  const routes = services.map((each) => routeFacts(mesh, each, snapshot))
  const facts: Facts = merged<Record<string, string>>(services.map((each) => serviceFacts(each, snapshot)))
  Object.assign(facts, {
    'mesh.yaml': merged([wishesOf(mesh), ...services.map(wishesOfService), ...kept.map(wishesOfService)]),
    cluster: { id: snapshot.cluster.id },
    operator: operatorFacts(mesh, snapshot, plan.operator.work),
    Caddyfile: merged(routes.map((each) => each.upstreams)),
    policy: merged(services.map((each) => policyFacts(mesh, each, snapshot))),
    plan: {
      'problems of every service': codes(plan.problems),
      ...merged(plan.services.map((each) => outcomeOf(mesh, each))),
    },
  } satisfies Facts)
  const harmless: Facts = merged(services.map((each) => harmlessFacts(each, snapshot)))
  harmless.Caddyfile = merged(routes.map((each) => each.lines))
  return { facts, harmless }
}

/** By subject (`Service joelclaw/redis`) and field (`type`). */
export type Facts = Record<string, Record<string, string>>
export type World = { facts: Facts; harmless: Facts }

/** The SHA-256 of the facts, whatever order they were found in, and of which services were asked for. */
export function hashOfWorld({ facts }: Pick<World, 'facts'>, names?: string[]): string {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([1, names?.toSorted() ?? null]))
  for (const subject of Object.keys(facts).sort())
    for (const field of Object.keys(facts[subject] ?? {}).sort())
      hash.update(JSON.stringify([subject, field, facts[subject]?.[field]]))
  return hash.digest('hex')
}

/** In what two worlds differ, a line each: `Service joelclaw/redis: type NodePort -> ClusterIP`. */
export function diffWorlds(before: World, after: World): { moved: string[]; harmless: string[] } {
  const lineOf = (site: string) =>
    (after.harmless.Caddyfile ?? before.harmless.Caddyfile)?.[`line of ${site}`]
  const told = diffFacts(before.facts, after.facts, (subject, field) => {
    if (subject !== 'Caddyfile') return `${subject}: ${field}`
    const line = lineOf(field)
    return `Caddyfile${line === undefined ? '' : `:${line}`} ${field}:`
  })
  // The planned changes follow from the facts: they are told only where no fact tells why they differ.
  const reasons = told.filter((each) => !each.startsWith('plan: '))
  return {
    moved: reasons.length > 0 ? reasons : told,
    harmless: diffFacts(before.harmless, after.harmless, (subject, field) => `${subject}: ${field}`),
  }
}

const absent = '(none)'

function diffFacts(before: Facts, after: Facts, name: (subject: string, field: string) => string): string[] {
  return keysOf(before, after).flatMap((subject) => {
    const [was, is] = [before[subject] ?? {}, after[subject] ?? {}]
    return keysOf(was, is).flatMap((field) => {
      const [from = absent, to = absent] = [was[field], is[field]]
      return from === to ? [] : [`${name(subject, field)} ${shown(from)} -> ${shown(to)}`]
    })
  })
}

const keysOf = (a: object, b: object) => [...new Set([...Object.keys(a), ...Object.keys(b)])]
const shown = (value: string) => (value.length > 200 ? `${value.slice(0, 200)}...` : value)

/** Files of credentials are not among them: a plan does not hang on where a secret lies. */
function wishesOf({
  kubernetes,
  tailnet,
  tailscale,
  machine,
  operator,
  caddy,
}: Mesh): Record<string, string> {
  const { credentials: _, values, ...others } = operator
  return {
    'kubernetes.context': kubernetes.context,
    tailnet,
    'tailscale.api': tailscale.api,
    machine: machine ?? absent,
    ...prefixed('operator', others),
    // Helm's values may hold anything, also what must not be written down.
    'operator.values': createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 16),
    'caddy.file': caddy.file,
    'caddy.admin': caddy.admin,
  }
}

function wishesOfService(service: ClusterService | HostService): Record<string, string> {
  const { name, namespace: _, object: __, ...wishes } = { namespace: '', object: '', ...service }
  return prefixed(`services.${name}`, wishes)
}

const prefixed = (prefix: string, values: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) =>
      value === undefined
        ? []
        : [[`${prefix}.${key}`, typeof value === 'string' ? value : JSON.stringify(value)]],
    ),
  )

function operatorFacts(mesh: Mesh, { cluster }: WholeSnapshot, work: string): Record<string, string> {
  const { operator, namespaces, proxyClassReady } = cluster
  const { namespace, proxyClass } = mesh.operator
  return {
    version: operator?.version ?? absent,
    'installed by onehop': said(operator?.ours),
    running: said(operator?.running),
    [`pod-security of namespace ${namespace}`]: namespaces[namespace] ?? absent,
    [`ProxyClass ${proxyClass} ready`]: said(proxyClassReady),
    'to do': work,
  }
}

function serviceFacts(service: ClusterService, snapshot: WholeSnapshot): Facts {
  const known = lookup(snapshot)
  const { cluster } = snapshot
  const object = known.service(service.service)
  const ready = cluster.readyPorts[service.service] ?? []
  const ports = object?.ports.map(({ name, port, nodePort }) => [
    `port ${port}`,
    `${name || 'unnamed'}${nodePort === undefined ? '' : `, node port ${nodePort}`}${
      service.ports.some((each) => each.port === port)
        ? `, ${ready.includes(name) ? 'ready' : 'no ready endpoint'}`
        : ''
    }`,
  ])
  const annotations = Object.keys(exposeAnnotations(service)).map((key) => {
    const found = object?.annotations[key]
    return [`annotation ${key}`, found ? `${found.value} (${found.manager})` : absent]
  })
  const entry = known.entry(service.name)
  const deviceId = cluster.proxies[proxyKey(service)]?.deviceId
  const holders = known
    .devicesNamed(service.hostname)
    .map((each) => (each.id === deviceId ? 'its own' : each.id))
  return {
    [`Service ${service.service}`]: object
      ? {
          ...{ uid: object.uid, type: object.type, clusterIP: object.clusterIP || absent },
          'Helm release': object.helmRelease ?? absent,
          ...Object.fromEntries(ports ?? []),
          ...Object.fromEntries(annotations),
        }
      : { uid: absent },
    ...(service.mode === 'https' && {
      [`Ingress ${service.namespace}/${ingressName(service)}`]: {
        'made by onehop': said(known.ingress(`${service.namespace}/${ingressName(service)}`)?.ours),
      },
    }),
    [`device name ${service.hostname}`]: {
      'held by': holders.join(', ') || absent,
      tags: (deviceId === undefined ? undefined : known.device(deviceId)?.tags.join(', ')) ?? absent,
      ...(service.allow.length === 0 && {
        [`${service.tag} owned by`]: known.tagOwners()?.get(service.tag)?.join(', ') ?? absent,
      }),
    },
    [`journal of ${service.name}`]: {
      state: !entry || entry.state === 'restored' ? 'planned' : entry.state,
    },
  }
}

/** Each route's upstream, and apart from it the line that it stands on. */
function routeFacts(mesh: Mesh, service: ClusterService, snapshot: Snapshot) {
  const { upstreams } = lookup(snapshot)
  const found = routesOf(mesh, service).map(({ site }) => ({ site, all: upstreams?.({ site }) ?? [] }))
  return {
    upstreams: Object.fromEntries(
      found.map(({ site, all }) => [site, all.map((each) => each.upstream).join(', ') || absent]),
    ),
    lines: Object.fromEntries(
      found.flatMap(({ site, all: [first] }) => (first ? [[`line of ${site}`, String(first.line)]] : [])),
    ),
  }
}

/** Of the policy only what this service needs of it. What stands in its way is told by the code of the problem. */
function policyFacts(mesh: Mesh, service: ClusterService, snapshot: Snapshot): Record<string, string> {
  try {
    const { policy, added = [] } = accessOfService(mesh, service, snapshot) ?? {}
    const state = (piece: Piece) => (policy && isThere(policy, piece) ? 'there' : 'missing')
    return Object.fromEntries(added.map((piece) => [pieceText(piece), state(piece)]))
  } catch {
    return {}
  }
}

const pieceText = ({ at, key, value, mark }: Piece) =>
  `${[...at, ...(key === undefined ? [] : [key])].join('.')} ${JSON.stringify(value)} of ${mark || 'several'}`

/** Lines shift without a reason to plan anew. */
function outcomeOf(mesh: Mesh, service: PlannedService): Record<string, string> {
  const { file } = mesh.caddy
  const plain = (what: string) =>
    what.startsWith(`${file}:`) ? `${file}${what.slice(file.length).replace(/^:\d+/, '')}` : what
  const changes = service.changes.map(({ sign, what, undo }) => `${sign} ${plain(what)} (undo: ${undo})`)
  return {
    [`problems of ${service.name}`]: codes(service.problems),
    [`changes of ${service.name}`]: changes.join('; ') || absent,
  }
}

function harmlessFacts(service: ClusterService, snapshot: Snapshot): Facts {
  const known = lookup(snapshot)
  const object = known.service(service.service)
  const deviceId = snapshot.cluster?.proxies[proxyKey(service)]?.deviceId
  const device = deviceId === undefined ? undefined : known.device(deviceId)
  return {
    [`Service ${service.service}`]: {
      finalizers: object?.finalizers.toSorted().join(', ') || absent,
      ...Object.fromEntries(
        (object ? otherAnnotations(object) : []).map(({ key, value, manager }) => [
          `annotation ${key}`,
          `${value} (${manager})`,
        ]),
      ),
    },
    [`device name ${service.hostname}`]: { addresses: device?.addresses.toSorted().join(', ') ?? absent },
  }
}

/** Put into one object, and not made of a list of all: with a thousand services that would be most of a plan's memory. */
function merged<T>(all: Array<Record<string, T>>): Record<string, T> {
  const whole: Record<string, T> = {}
  for (const each of all) Object.assign(whole, each)
  return whole
}

const codes = (problems: Array<{ code: string }>) =>
  problems
    .map(({ code }) => code)
    .sort()
    .join(', ') || absent
const said = (value: boolean | undefined) => (value === undefined ? absent : value ? 'yes' : 'no')
