import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { events } from '../inngest.config.ts'
import { type DriftRecord, driftRecord } from './drift-record.ts'
import { type Entry, type RequestRecord, runsOf, states } from './journal-records.ts'
import { isClusterService, type Mesh } from './plan/mesh.ts'
import type { SeenPaths, Setup } from './setup.ts'
import { version } from './version.ts'

/**
 * What Prometheus is told, in a registry of its own, so that two apps in one process do not meet. What the journal knows is
 * taken from there at each scrape: a worker that starts anew goes on counting where the last one ended. No label holds
 * anything but words of ours and names: those of mesh.yaml, and what a drift is about.
 */
export function createMetrics(setup: Setup, engine: EngineLink): Metrics {
  const registry = new Registry()
  const fill = journalled.map((measure) => measure(registry))
  const see = probes(registry)
  return {
    registry,
    see,
    async scrape() {
      const journal = setup.journal()
      const [mesh, entries, requests, drift] = await Promise.all([
        setup.mesh().catch(() => undefined),
        journal.then((found) => found.list()).catch(() => undefined),
        journal.then((found) => found.listRequests()).catch(() => undefined),
        journal.then(async (found) => (await driftRecord(found).last()) ?? null).catch(() => undefined),
      ])
      const known = { mesh, entries, requests, drift, connected: engine.connected() }
      // All at once: a second scrape at the same time must not find half of it.
      for (const each of fill) each(known)
      return { text: await registry.metrics(), contentType: registry.contentType }
    },
  }
}

export type Metrics = {
  registry: Registry
  /** Notes what was seen of a service's paths. */
  see(seen: SeenPaths): void
  scrape(): Promise<{ text: string; contentType: string }>
}

/** Whether the engine has this worker; `undefined` while nobody has tried. */
export type EngineLink = { connected: () => boolean | undefined }

/** What there is to tell of at a scrape; a part that could not be read is absent. */
type Known = {
  mesh?: Mesh | undefined
  entries?: Entry[] | undefined
  requests?: RequestRecord[] | undefined
  /** `null` before the first look. */
  drift?: DriftRecord | null | undefined
  connected?: boolean | undefined
}
/** One measure: how it is called, and how it is set at each scrape. */
type Measure = (registry: Registry) => (known: Known) => void

/**
 * In the order of docs/metrics.md, which has a row for each (a test holds both equal). What else there is to tell is one more
 * function here, and what it is made of one more part of `Known`.
 */
const journalled: Measure[] = [
  build,
  stateReadable,
  engineConnected,
  phases,
  fellBack,
  drifts,
  requestsEnded,
  requestsInProgress,
]

function build(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'runtime', 'runtime_version'],
    registers: [registry],
  })
  const { bun, node } = process.versions
  gauge.set({ version, runtime: bun ? 'bun' : 'node', runtime_version: bun ?? node }, 1)
  return () => undefined
}

function stateReadable(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_state_readable',
    help: '1 if mesh.yaml or the journal could be read for this scrape; where not, what follows from it is missing.',
    labelNames: ['part'],
    registers: [registry],
  })
  return ({ mesh, entries, requests, drift }: Known) => {
    gauge.set({ part: 'mesh' }, mesh ? 1 : 0)
    gauge.set({ part: 'journal' }, entries && requests && drift !== undefined ? 1 : 0)
  }
}

function engineConnected(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_engine_connected',
    help: '1 if the engine has this worker: connected, or registered where it is served.',
    registers: [registry],
  })
  return ({ connected }: Known) => {
    // Without labels a gauge is there from the start, at 0; so what is not known must be taken out.
    gauge.remove()
    if (connected !== undefined) gauge.set(connected ? 1 : 0)
  }
}

function phases(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_service_phase',
    help: '1 for the phase that a service is in, 0 for every other.',
    labelNames: ['service', 'phase'],
    registers: [registry],
  })
  return (known: Known) => {
    gauge.reset()
    for (const { service, entry } of servicesOf(known))
      for (const phase of ['planned', ...states] as const)
        gauge.set({ service, phase }, phase === (entry?.state ?? 'planned') ? 1 : 0)
  }
}

function fellBack(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_service_fell_back',
    help: '1 if a moved service leads over its old path again, because its device name fell silent.',
    labelNames: ['service'],
    registers: [registry],
  })
  return (known: Known) => {
    gauge.reset()
    for (const { service, entry } of servicesOf(known)) gauge.set({ service }, entry?.fellBack ? 1 : 0)
  }
}

function drifts(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_drift',
    help: '1 for each drift that stood at the last look.',
    labelNames: ['kind', 'subject', 'severity'],
    registers: [registry],
  })
  return ({ drift }: Known) => {
    gauge.reset()
    for (const { kind, subject, severity } of drift?.drifts ?? []) gauge.set({ kind, subject, severity }, 1)
  }
}

function requestsEnded(registry: Registry) {
  const labelNames = ['event', 'outcome']
  const registers = [registry]
  const counter = new Counter({
    name: 'onehop_requests_total',
    help: 'Requests that have ended, by event and outcome; one that was run again counts each time.',
    ...{ labelNames, registers },
  })
  const histogram = new Histogram({
    name: 'onehop_request_duration_seconds',
    help: 'From when a request was taken up until it ended.',
    buckets: [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21_600],
    ...{ labelNames, registers },
  })
  return ({ requests }: Known) => {
    counter.reset()
    histogram.reset()
    for (const record of requests ?? [])
      for (const { state: outcome, seconds } of runsOf(record)) {
        counter.inc({ event: eventOf(record), outcome })
        if (seconds !== undefined) histogram.observe({ event: eventOf(record), outcome }, seconds)
      }
  }
}

function requestsInProgress(registry: Registry) {
  const gauge = new Gauge({
    name: 'onehop_requests_in_progress',
    help: 'Requests that have begun and not ended; also those whose run is lost, until they are taken up.',
    labelNames: ['event'],
    registers: [registry],
  })
  return ({ requests }: Known) => {
    gauge.reset()
    for (const event of requestEvents) gauge.set({ event }, 0)
    for (const record of requests ?? []) if (record.state === 'running') gauge.inc({ event: eventOf(record) })
  }
}

/** What this process itself has probed, while a service soaks and after it is moved: it begins anew with the process. */
function probes(registry: Registry) {
  const registers = [registry]
  const counter = new Counter({
    name: 'onehop_probes_total',
    help: 'Probes of a path, by whether it answered.',
    labelNames: ['service', 'path', 'outcome'],
    registers,
  })
  const histogram = new Histogram({
    name: 'onehop_probe_duration_seconds',
    help: 'How long a path took to answer; one that did not is only counted.',
    labelNames: ['service', 'path'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2],
    registers,
  })
  return ({ service, paths }: SeenPaths) => {
    for (const [name, seen] of Object.entries(paths))
      for (const { answer } of seen) {
        const path = name.toLowerCase().replace(' ', '_')
        counter.inc({ service, path, outcome: answer.ok ? 'answered' : 'failed' })
        if (answer.ok) histogram.observe({ service, path }, answer.ms / 1000)
      }
  }
}

/** Those of mesh.yaml; without it, those that the journal knows. */
function servicesOf({ mesh, entries }: Known) {
  if (!entries) return []
  const byName = new Map(entries.map((each) => [each.service, each]))
  const names = mesh ? mesh.services.filter(isClusterService).map((each) => each.name) : [...byName.keys()]
  return names.map((service) => ({ service, entry: byName.get(service) }))
}

/** An event's name comes from a file: only those that are ours become a label. */
const eventOf = ({ event }: RequestRecord) => (requestEvents.has(event) ? event : 'other')
const requestEvents = new Set(Object.keys(events).filter((name) => name.endsWith('.requested')))
