import { OnehopError, toOnehopError } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import { blockingRoutes } from '../plan/blocking-routes.ts'
import { type ClusterService, isClusterService, type Mesh } from '../plan/mesh.ts'
import { deviceName, hasOldPath, routesOf } from '../plan/paths.ts'
import { typeSource } from '../plan/service-type.ts'
import { usageOf, usageProblem } from '../plan/usage.ts'
import type { Setup, Work } from '../setup.ts'
import type { ServiceTypeFacts } from '../systems/kubernetes-facts.ts'
import type { Systems } from '../systems/systems.ts'
import { serviceOf } from './attempt.ts'
import { provePath } from './prove-path.ts'
import { type RemovalState, removeCaddyRoute } from './remove-caddy-route.ts'
import { setServiceType, type TypeState } from './set-service-type.ts'
import { awaited, type Outcome, type Step, tried } from './step.ts'

/** Everything that stands in the way of retiring; then an attempt is begun. What is only a matter of use can be forced. */
export function preflightRetire(step: Step, { setup, request, run, service: name, forced }: Asked) {
  return tried(step, `${name}/retire: preflight`, async () => {
    const { service, ...work } = await serviceOf(setup, name)
    const { mesh, systems, journal } = work
    if (!hasOldPath(service)) throw new OnehopError('old-path-none', { service: name })
    const entry = await journal.read(name)
    if (entry?.state !== 'moved' || entry.fellBack)
      throw new OnehopError('not-moved', {
        service: name,
        state: entry?.fellBack ? 'moved, fell back' : (entry?.state ?? 'planned'),
      })
    const cluster = await systems.kubernetes.clusterId()
    if (cluster !== entry.cluster)
      throw new OnehopError('cluster-changed', { service: name, expected: entry.cluster, found: cluster })
    refuseEarlyEngine(mesh, service, await journal.list(), setup.engineInUse)
    await provePath(systems, mesh, service)
    const facts = await systems.kubernetes.serviceType(service.namespace, service.object)
    if (!facts) throw new OnehopError('service-missing', { object: service.service })
    const { kept, note } = typeSource(facts, await releaseOf(systems, facts))
    // A type that is left alone takes no node port away.
    if (!kept) refuseUnlisted(service, facts)
    await refuseRoutes(work, service, facts)
    // A route that cannot be taken out alone is known before the first change.
    await removeCaddyRoute.read(systems, mesh, service)
    await refuseUse(work, service, entry, forced)
    const { attempt } = await journal.beginRetire(name, { request, run })
    return { attempt, kept, notes: [note] }
  })
}

/** NodePort -> ClusterIP: record, apply. */
export async function setType(
  step: Step,
  { setup, service: name, attempt }: Retiring,
): Promise<Outcome<void>> {
  const recorded = await tried(step, `${name}/type: record`, async () => {
    const { systems, journal, service } = await serviceOf(setup, name)
    const before = await setServiceType.read(systems, service)
    await journal.record(name, attempt, {
      id: 'type', before, target: setServiceType.target(before), uid: before.uid, undone: false,
    }) // biome-ignore format: one record
  })
  if (!recorded.ok) return recorded
  return tried(step, `${name}/type: apply`, async () => {
    const { systems, journal } = await setup.work()
    await journal.guarded(name, attempt, async (entry) => {
      const { before, target } = entry.changes.find((each) => each.id === 'type') ?? {}
      const swap = { from: before as TypeState, to: target as TypeState }
      await setServiceType.write(systems, { ...swap, undo: false, service: name })
    })
  })
}

/** Caddy's routes of the service out of the file: record, apply. */
export async function removeRoutes(
  step: Step,
  { setup, service: name, attempt }: Retiring,
): Promise<Outcome<void>> {
  const recorded = await tried(step, `${name}/route: record`, async () => {
    const { mesh, systems, journal, service } = await serviceOf(setup, name)
    const before = await removeCaddyRoute.read(systems, mesh, service)
    if (before.routes.length === 0) return false
    await journal.record(name, attempt, {
      id: 'route',
      before,
      target: removeCaddyRoute.target(before),
      undone: false,
    })
    return true
  })
  if (!recorded.ok) return recorded
  if (!recorded.value) return { ok: true, value: undefined }
  return tried(step, `${name}/route: apply`, async () => {
    const { systems, journal } = await setup.work()
    await journal.guarded(name, attempt, async (entry) => {
      const change = entry.changes.find((each) => each.id === 'route')
      await removeCaddyRoute.write(systems, [change?.target as RemovalState])
    })
  })
}

/** The device name answers as before, with no old path beside it. */
export const proveRetired = (
  step: Step,
  { setup, service: name, attempt }: Retiring,
): Promise<Outcome<void>> =>
  awaited(step, `${name}/retire: prove`, {
    seconds: 30,
    look: async () => {
      const { mesh, systems, journal, service } = await serviceOf(setup, name)
      const { ms } = await provePath(systems, mesh, service, { old: false })
      await journal.noteProbe(name, attempt, ms)
    },
  })

type Asked = { setup: Setup; request: string; run: string; service: string; forced: boolean }
type Retiring = { setup: Setup; service: string; attempt: number }

/** What Helm says of a Service's release. It is for the user to read only, so that a Helm that cannot answer stops nothing. */
async function releaseOf({ helm }: Systems, { namespace, helmRelease }: ServiceTypeFacts) {
  if (helmRelease === undefined) return undefined
  return helm
    .release({ release: helmRelease, namespace })
    .catch((thrown: unknown) => ({ message: toOnehopError(thrown).message }))
}

/** The engine's old path carries the worker itself until the worker uses another name, and every other move. */
function refuseEarlyEngine(
  mesh: Mesh,
  service: ClusterService,
  entries: Entry[],
  inUse = mesh.engine.url,
): void {
  if (!service.engine) return
  const refuse = (why: string) => {
    throw new OnehopError('engine-goes-last', { why, service: service.name })
  }
  const name = deviceName(mesh, service)
  // What mesh.yaml says now counts for the next start of the worker, and what it said then for this one.
  const old = [mesh.engine.url, inUse].find((url) => new URL(url).hostname !== name)
  if (old !== undefined)
    refuse(
      `the worker reaches the engine by ${old}; set engine.url in mesh.yaml to a port of ${name} and restart the worker`,
    )
  const waiting = mesh.services
    .filter(isClusterService)
    .filter(
      (each) =>
        !each.engine &&
        hasOldPath(each) &&
        entries.find((entry) => entry.service === each.name)?.state !== 'retired',
    )
  if (waiting.length > 0) refuse(`${waiting.map((each) => each.name).join(', ')} still to be retired`)
}

/** A ClusterIP has no node port at all, and who uses one that mesh.yaml does not list was never looked at. Of UDP it never is. */
function refuseUnlisted({ name, ports: listed }: ClusterService, { ports }: ServiceTypeFacts): void {
  const unlisted = ports.filter(
    ({ port, protocol, nodePort }) =>
      nodePort !== undefined && (protocol !== 'TCP' || !listed.some((each) => each.port === port)),
  )
  if (unlisted.length === 0) return
  const text = unlisted.map(
    ({ port, protocol, nodePort }) => `${port}/${protocol} (node port ${nodePort ?? 'none'})`,
  )
  throw new OnehopError('node-port-unlisted', { service: name, ports: text.join(', ') })
}

/** Routes that mesh.yaml does not name (the Funnel server's fallback, say) and that dial the port map would go dark. */
async function refuseRoutes(
  { mesh, systems: { caddy, sockets } }: Omit<Work, 'journal'>,
  service: ClusterService,
  { ports }: ServiceTypeFacts,
): Promise<void> {
  const { text } = await caddy.readFile()
  const adapted = await caddy.running()
  const machine = mesh.machine === undefined ? [] : [mesh.machine, `${mesh.machine}.${mesh.tailnet}`]
  const hosts = [...machine, '0.0.0.0', '::', ...sockets.addresses()]
  const isDevice = (host: string) => host === service.hostname || host.endsWith(`.${mesh.tailnet}`)
  const nodePorts = ports.flatMap(({ nodePort }) => nodePort ?? [])
  for (const { portMap } of service.ports) {
    const [first] = blockingRoutes({
      ...{ text, adapted, port: portMap, hosts, nodePorts, isDevice },
      own: routesOf(mesh, service),
    })
    if (first) throw new OnehopError('caddy-route-remains', { file: mesh.caddy.file, ...first })
  }
}

/** Being forced is enough to do without the proof; but whoever is seen on the engine's own ports now would lose his runs. */
async function refuseUse(
  { mesh, journal }: Pick<Work, 'mesh' | 'journal'>,
  { name, engine, ports, routes }: ClusterService,
  entry: Entry,
  forced: boolean,
) {
  if (forced && !engine) return
  const { hold: holdSeconds, every: everySeconds } = mesh.retire
  const samples = await journal.readUsage(name)
  const since = Date.parse(entry.ended[entry.request]?.at ?? entry.updatedAt ?? '')
  const counts = ports.every(({ port }) => Object.values(routes).includes(port))
  const usage = usageOf({ samples, since, now: Date.now(), holdSeconds, everySeconds, counts })
  if (forced && usage.verdict !== 'in-use') return
  const problem = usageProblem(usage, { service: name, file: mesh.caddy.file, holdSeconds, everySeconds })
  if (problem) throw problem
}
