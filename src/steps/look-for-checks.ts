import { OnehopError, toOnehopError } from '../errors.ts'
import { inTime } from '../in-time.ts'
import type { Entry } from '../journal-records.ts'
import type { CheckFacts, PathFacts } from '../plan/check-facts.ts'
import { type CheckId, codesOf } from '../plan/check-table.ts'
import { type ClusterService, isClusterService, type Mesh } from '../plan/mesh.ts'
import { deviceName, hasOldPath } from '../plan/paths.ts'
import { parsePolicy } from '../plan/policy-text.ts'
import type { Snapshot } from '../plan/snapshot.ts'
import type { Right } from '../systems/access-reviews.ts'
import type { CheckingSystems } from '../systems/checking-systems.ts'
import { inBatches } from '../systems/in-batches.ts'
import { readCluster } from '../systems/take-snapshot.ts'
import { refusedAs } from './prove-operator-client.ts'
import { type Probed, probeDevice, probePortMaps } from './prove-path.ts'

/**
 * Reads all that the checks are judged by, side by side, and writes nothing. Every question has its deadline
 * (`deadlines.check`; longer for what lists or runs a program), and is asked only once it is known that its system answers:
 * whatever is down, this ends.
 */
export async function lookForChecks(
  mesh: Mesh,
  systems: CheckingSystems,
  services: ClusterService[],
): Promise<CheckFacts> {
  const failures: CheckFacts['failures'] = {}
  const asking: Asking = { mesh, systems, ask: createAsk(mesh, systems, failures) }
  const state = lookAtState(asking)
  const tailscaled = lookAtTailscaled(asking)
  const [{ entries, requests }, keyFiles, tailnet, sharedClient, cluster, caddy, app, worker, paths, local] =
    await Promise.all([
      state,
      lookAtKeyFiles(asking),
      lookAtTailnet(asking),
      lookAtClients(asking),
      lookAtCluster(asking),
      lookAtCaddy(asking),
      lookAtEngine(asking),
      systems.worker(),
      lookAtPaths(asking, services, { state, tailscaled }),
      tailscaled,
    ])
  const { text, version, adapted, running } = caddy
  return {
    snapshot: {
      ...(cluster && { cluster }),
      ...tailnet,
      ...(local && { tailscaled: local }),
      ...(text !== undefined && { caddy: { version: version ?? '', text, adapted, running } }),
      journal: entries,
      failures: [],
    },
    failures,
    requests,
    keyFiles,
    ...(sharedClient !== undefined && { sharedClient }),
    ...local,
    caddy: { ...(version !== undefined && { version }), adapted, running },
    ...(app !== undefined && { app }),
    ...(worker && { worker }),
    paths,
  }
}

type Asking = { mesh: Mesh; systems: CheckingSystems; ask: Ask }
type Ask = <T>(question: Question, read: () => Promise<T>) => Promise<T | undefined>
/**
 * `checks` are those that it may make fail: the one that knows the error's code, else the first. `url` is asked at a host
 * whose name has to be looked up for that.
 */
type Question = {
  checks: CheckId[]
  late: (message: string) => OnehopError
  url?: string
  patience?: number
}

/** Lists, and programs of this machine, may take longer than a first answer. */
const patient = 3

function createAsk(
  { deadlines }: Mesh,
  { resolverAnswers }: CheckingSystems,
  failures: CheckFacts['failures'],
): Ask {
  return async ({ checks, late, url, patience = 1 }, read) => {
    const seconds = deadlines.check * patience
    const found = async () => {
      const host = url && new URL(url).hostname
      if (host && !(await resolverAnswers(host, { milliseconds: lookUp(deadlines) })))
        throw late('the resolver of this machine does not answer')
      return read()
    }
    try {
      return await inTime(seconds * 1000, found, ({ message }) => late(message))
    } catch (thrown) {
      const failure = toOnehopError(thrown).toJSON()
      const failed = checks.find((each) => codesOf(each).includes(failure.code)) ?? checks[0]
      if (failed) failures[failed] ??= failure
      return undefined
    }
  }
}

/** A look-up that is silent ends before the question that needs it. */
const lookUp = ({ check }: Mesh['deadlines']) => check * 900

async function lookAtState({ mesh, systems, ask }: Asking) {
  const question: Question = {
    checks: ['state-usable', 'journal-readable'],
    late: (message) => new OnehopError('journal-unwritable', { folder: mesh.state, message }),
  }
  const journal = await ask(question, () => systems.journal())
  const [entries = [], requests = []] =
    (journal && (await ask(question, () => Promise.all([journal.list(), journal.listRequests()])))) ?? []
  return { entries, requests }
}

async function lookAtKeyFiles({ mesh, systems, ask }: Asking): Promise<CheckFacts['keyFiles']> {
  const { tailscale, operator, engine } = mesh
  const files: Array<[CheckId, string | undefined]> = [
    ['tailscale-key-files', tailscale.credentials.clientIdFile],
    ['tailscale-key-files', tailscale.credentials.clientSecretFile],
    ['operator-key-files', operator.credentials.clientIdFile],
    ['operator-key-files', operator.credentials.clientSecretFile],
    ['engine-key-files', engine.eventKeyFile],
    ['engine-key-files', engine.signingKeyFile],
  ]
  const found = await Promise.all(
    files.map(async ([check, file]) => {
      if (file === undefined) return []
      const late = (message: string) => new OnehopError('credentials-missing', { file, message })
      const mode = await ask({ checks: [check], late }, async () => {
        await systems.keyFile.read(file)
        return systems.keyFile.permissions(file)
      })
      return mode === undefined ? [] : [{ file, mode }]
    }),
  )
  return found.flat()
}

const api = ({ mesh }: Asking, checks: CheckId[]): Question => ({
  checks,
  url: mesh.tailscale.api,
  late: (message) => new OnehopError('tailscale-unreachable', { url: mesh.tailscale.api, message }),
})

async function lookAtTailnet(asking: Asking): Promise<Pick<Snapshot, 'tailnet' | 'policy'>> {
  const { systems, ask } = asking
  const { tailscale } = systems
  const question = api(asking, ['tailscale-api-answers', 'tailscale-key-files', 'tailscale-rights'])
  const signedIn = await ask(question, async () => {
    await tailscale.signIn()
    return true
  })
  if (!signedIn) return {}
  const [devices, policy] = await Promise.all([
    ask(question, tailscale.devices),
    ask({ ...question, checks: [...question.checks, 'policy-parses'] }, async () => {
      const { text } = await tailscale.policy()
      parsePolicy(text)
      return text
    }),
    ask(api(asking, ['tailscale-api-answers', 'policy-edited-here']), tailscale.refuseManagedElsewhere),
  ])
  return { ...(devices && { tailnet: { devices } }), ...(policy !== undefined && { policy }) }
}

/** Whether onehop and the operator have one OAuth client, and whether Tailscale takes the operator's. */
async function lookAtClients(asking: Asking): Promise<boolean | undefined> {
  const { mesh, systems, ask } = asking
  const { clientIdFile: file } = mesh.operator.credentials
  const [ids] = await Promise.all([
    ask(api(asking, ['operator-key-files']), () =>
      Promise.all([systems.tailscale.clientId(), systems.operatorClient.clientId()]),
    ),
    ask(api(asking, ['operator-client-accepted', 'operator-key-files', 'tailscale-api-answers']), () =>
      systems.operatorClient.signIn().catch(refusedAs('operator-client-refused', { file })),
    ),
  ])
  return ids && ids[0] === ids[1]
}

async function lookAtTailscaled(asking: Asking) {
  const { systems, ask } = asking
  const question: Question = {
    checks: ['tailscaled-answers'],
    late: (message) => new OnehopError('tailscaled-unreachable', { message }),
  }
  const peers = await ask(question, systems.tailscale.peers)
  if (!peers) return undefined
  const [name, peer] = Object.entries(peers)[0] ?? []
  const names = name === undefined ? undefined : await resolve(asking, name)
  return {
    peers,
    ...(name !== undefined && peer && names && { dns: { name, expected: peer.addresses, ...names } }),
  }
}

/** What both resolvers say of a device name. A silent one is found out first: the system's look-up cannot be given up. */
async function resolve({ mesh, systems }: Asking, name: string): Promise<NonNullable<PathFacts['names']>> {
  const heard = await systems.resolverAnswers(name, { milliseconds: lookUp(mesh.deadlines) })
  return heard ? systems.probes.resolve(name) : { magicDns: 'nothing', system: 'nothing' }
}

async function lookAtCluster({ mesh, systems, ask }: Asking): Promise<Snapshot['cluster']> {
  const { context } = mesh.kubernetes
  const question: Question = {
    checks: ['cluster-answers', 'cluster-readable'],
    late: (message) => new OnehopError('kubernetes-unreachable', { context, message }),
  }
  const cluster = await ask(question, systems.cluster)
  const id = cluster && (await ask(question, cluster.kubernetes.clusterId))
  if (!cluster || id === undefined) return undefined
  const [found] = await Promise.all([
    ask({ ...question, patience: patient }, () => readCluster(mesh, cluster)),
    ask({ ...question, checks: ['cluster-writable', 'cluster-answers'] }, async () => {
      const [refused] = await cluster.rights.refused(neededRights(mesh))
      if (!refused) return
      const { verb, resource, namespace } = refused
      const action = `${verb} ${resource}${namespace ? ` in namespace ${namespace}` : ''}`
      throw new OnehopError('kubernetes-refused', { context, action, message: 'it is not allowed to (RBAC)' })
    }),
    ask(
      {
        checks: ['helm-runs'],
        late: (message) => new OnehopError('helm-missing', { message }),
        patience: patient,
      },
      systems.helmVersion,
    ),
  ])
  return found
}

/** What a move and its undo write. What helm needs for the operator is more, and the chart's to say. */
function neededRights({ operator, services }: Mesh): Right[] {
  const { namespace } = operator
  const moved = services.filter(isClusterService)
  const spaces = (of: ClusterService[]) => [...new Set(of.map((each) => each.namespace))]
  return [
    ...spaces(moved).map((each) => ({ verb: 'patch', resource: 'services', namespace: each })),
    ...spaces(moved.filter(({ mode }) => mode === 'https')).flatMap((each) =>
      ['patch', 'delete'].map((verb) => ({
        ...{ verb, group: 'networking.k8s.io', resource: 'ingresses', namespace: each },
      })),
    ),
    { verb: 'patch', resource: 'namespaces' },
    { verb: 'patch', resource: 'secrets', namespace },
    { verb: 'patch', group: 'tailscale.com', resource: 'proxyclasses' },
  ]
}

async function lookAtCaddy({ mesh, systems, ask }: Asking) {
  const { file, admin, bin } = mesh.caddy
  const unread: Question = {
    checks: ['caddy-file-readable', 'caddy-file-valid', 'caddy-version'],
    late: (message) => new OnehopError('caddy-file-unreadable', { file, message }),
  }
  const [running, version, text] = await Promise.all([
    ask(
      {
        checks: ['caddy-answers'],
        late: (message) => new OnehopError('caddy-unreachable', { admin, message }),
      },
      systems.caddy.running,
    ),
    ask(
      {
        checks: ['caddy-version'],
        late: (message) => new OnehopError('caddy-missing', { bin, message }),
        patience: patient,
      },
      systems.caddy.version,
    ),
    ask(unread, async () => (await systems.caddy.readFile()).text),
  ])
  const adapted =
    text === undefined || version === undefined
      ? undefined
      : await ask(
          {
            ...unread,
            late: (message) => new OnehopError('caddy-edit-refused', { file, message }),
            patience: patient,
          },
          () => systems.caddy.adapt(text),
        )
  return { running, version, text, adapted }
}

async function lookAtEngine({ mesh, systems, ask }: Asking) {
  const { url } = mesh.engine
  const question: Question = {
    checks: ['engine-answers'],
    url,
    late: (message) => new OnehopError('engine-unreachable', { url, message }),
  }
  const healthy = await ask(question, async () => {
    await systems.engine.health()
    return true
  })
  return healthy ? ask(question, systems.engine.app) : undefined
}

type Known = {
  state: ReturnType<typeof lookAtState>
  tailscaled: ReturnType<typeof lookAtTailscaled>
}

async function lookAtPaths(asking: Asking, services: ClusterService[], known: Known) {
  const states = new Map((await known.state).entries.map(({ service, state }) => [service, state]))
  const { tailscaled } = known
  const found = await inBatches<ClusterService, readonly [string, PathFacts]>(
    services,
    async (service) => {
      const { name } = service
      return [name, await lookAtPath(asking, service, { state: states.get(name), tailscaled })]
    },
    // Where hundreds are silent, those that come first show it.
    { milliseconds: 12_000, late: ({ name }) => [name, {}] },
  )
  return Object.fromEntries(found)
}

async function lookAtPath(
  asking: Asking,
  service: ClusterService,
  { state, tailscaled }: { state: Entry['state'] | undefined; tailscaled: Known['tailscaled'] },
): Promise<PathFacts> {
  const { probes } = asking.systems
  if (state === undefined || state === 'restored') {
    if (!hasOldPath(service)) return {}
    return { portMaps: await twice(() => probePortMaps(probes, service)) }
  }
  // The port map of what is moved is left alone: the worker would take this for somebody's use of it.
  if ((state !== 'moved' && state !== 'retired') || !(await tailscaled)) return {}
  const name = deviceName(asking.mesh, service)
  const names = await resolve(asking, name)
  if (typeof names.system === 'string') return { names }
  return { names, device: await twice(() => probeDevice(probes, asking.mesh, service)) }
}

/** One lost packet is no failure. */
async function twice(probe: () => Promise<Probed[]>): Promise<Probed[]> {
  const first = await probe()
  return first.every(({ answer }) => answer.ok) ? first : probe()
}
