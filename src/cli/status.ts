import Table from 'cli-table3'
import { type DriftRecord, driftRecord, withoutMarks } from '../drift-record.ts'
import { isLost } from '../journal-records.ts'
import { driftId } from '../plan/drift-kinds.ts'
import { forgottenIn, isClusterService, type Mesh } from '../plan/mesh.ts'
import { advertised, pathsOf } from '../plan/paths.ts'
import { createSetup } from '../setup.ts'
import { askWorker } from '../systems/ask-worker.ts'
import type { Answer } from './output.ts'

/** onehop status: what the journal says of each service and of what is under way, and the paths by which each is advertised. Needs no engine and no cluster. */
export async function status({ mesh: file }: { mesh: string }): Promise<Answer> {
  const setup = createSetup(file)
  const mesh = await setup.mesh()
  const journal = await setup.journal()
  const [entries, requests] = [await journal.list(), await journal.listRequests()]
  const narrowing = await journal.readNarrowing()
  const services = mesh.services.filter(isClusterService).map((service) => {
    const entry = entries.find((each) => each.service === service.name)
    const by = advertised(entry)
    const paths = pathsOf(mesh, service).map(({ port, portMap, oldUrl, device }) => ({
      port,
      ...(by.portMap && { portMap }),
      ...(by.oldUrl && oldUrl !== undefined && { oldUrl }),
      ...(by.device && { device }),
    }))
    return {
      name: service.name,
      state: entry?.state ?? 'planned',
      attempt: entry?.attempt ?? 0,
      paths,
      ...(entry?.fellBack && { fellBack: entry.fellBack }),
      ...(entry?.evidence && {
        evidence: { attempt: entry.evidence.attempt, paths: entry.evidence.paths },
      }),
      failure: entry?.failure ?? null,
    }
  })
  // What can be proven or switched is mesh.yaml's to say: what it has forgotten can only be taken back.
  const forgotten = forgottenIn(mesh, entries).map(({ service, state, failure = null }) => ({
    name: service,
    state,
    failure,
  }))
  const running = requests
    .filter((each) => each.state === 'running')
    .map(({ id, event, phase, deadline, ...rest }) => ({
      id,
      event,
      phase,
      deadline,
      lost: isLost({ deadline, ...rest, id, event }),
    }))
  const drift = await driftRecord(journal).last()
  // Of what never came as far as a service, nothing else tells why.
  const failed = requests
    .filter((each) => each.state === 'failed' || each.state === 'refused')
    .filter((each) => Date.parse(each.updatedAt ?? '') > Date.now() - lately)
    .sort((a, b) => Date.parse(b.updatedAt ?? '') - Date.parse(a.updatedAt ?? ''))
    .slice(0, 5)
    .map(({ id, event, updatedAt: at, failure = null }) => ({ id, event, at, failure }))
  const worker = mesh.simulated === undefined ? await askWorker(mesh.worker) : undefined
  const table = new Table({
    head: ['service', 'state', 'answers on', 'why'],
    style: { head: [], border: [], compact: true },
  })
  for (const { name, state, fellBack, paths, failure } of services)
    table.push([
      name,
      fellBack ? `${state}, fell back` : state,
      paths.map((each) => [each.device, each.oldUrl, each.portMap].filter(Boolean).join('  ')).join('\n'),
      failure?.code ?? '',
    ])
  const lines = [
    table.toString(),
    ...forgotten.map(
      ({ name, state }) => `${name} is ${state} and no longer in mesh.yaml: onehop rollback ${name}`,
    ),
    ...running.map(
      ({ id, event, phase, lost }) =>
        `${event} ${id}: ${lost ? 'lost' : 'running'}, in "${phase ?? 'its start'}"`,
    ),
    ...(drift ? [driftLine(drift)] : []),
    ...failed.map(
      ({ id, event, at, failure }) =>
        `${event} ${id}: failed${at === undefined ? '' : ` at ${at}`}: ${failure?.message ?? 'no reason was written down'}`,
    ),
    ...(narrowing?.state === 'unconfirmed'
      ? [
          `the policy is narrowed, and takes itself back unless confirmed until ${narrowing.until}`,
          ...(narrowing.failure ? [`it could not be taken back: ${narrowing.failure.message}`] : []),
        ]
      : []),
    ...(mesh.simulated === undefined ? [workerLine(mesh, worker)] : [simulatedLine(mesh.simulated)]),
  ]
  return {
    result: {
      services,
      forgotten,
      requests: running,
      drift: drift ? { at: drift.at, drifts: drift.drifts.map(withoutMarks) } : null,
      failed,
      policy: narrowing
        ? { state: narrowing.state, until: narrowing.until, failure: narrowing.failure ?? null }
        : null,
      worker: { listen: mesh.worker.listen, running: worker !== undefined, engine: worker?.engine ?? null },
      engine: mesh.engine.url,
      ...(mesh.simulated !== undefined && { simulated: mesh.simulated }),
    },
    text: lines.join('\n'),
  }
}

const workerLine = ({ worker: { listen }, engine }: Mesh, worker: { engine: string } | undefined) =>
  worker
    ? `worker ${listen}: running; it uses the engine by ${worker.engine}`
    : `worker ${listen}: not running; engine ${engine.url}`

const simulatedLine = (folder: string) =>
  `simulated world ${folder}: nothing here is real; its engine and its worker run inside each command`

const driftLine = ({ at, drifts }: DriftRecord) =>
  drifts.length === 0
    ? `drift: none, looked at ${at}`
    : `drift: ${drifts.map(driftId).join('; ')} (looked at ${at}; onehop drift)`

/** Requests that failed within the last day are shown. */
const lately = 86_400_000
