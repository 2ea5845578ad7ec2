import { randomUUID } from 'node:crypto'
import { createLogUpdate } from 'log-update'
import pWaitFor from 'p-wait-for'
import type { EventName } from '../../inngest.config.ts'
import { OnehopError } from '../errors.ts'
import type { Journal } from '../journal.ts'
import { type Entry, isLost, type RequestRecord } from '../journal-records.ts'
import type { Mesh } from '../plan/mesh.ts'
import { createSetup } from '../setup.ts'
import type { Engine } from '../systems/engine.ts'
import { orInterrupted } from './end.ts'
import { Interruption } from './output.ts'

/**
 * Sends an event to the engine and follows the request, by our own id, in the journal: Inngest may hang a run off
 * another id. On a terminal there is one live line per service, elsewhere one line per change of state.
 *
 * @throws OnehopError engine-unreachable, engine-refused, engine-cannot-call-worker
 */
export async function sendAndFollow({ meshFile, name, data, quiet }: Send): Promise<RequestRecord> {
  const setup = createSetup(meshFile)
  const [mesh, journal] = [await setup.mesh(), await setup.journal()]
  const id = randomUUID()
  const following = follow({ engine: await setup.engine(), mesh, journal, id, name, data, quiet })
  const code = mesh.simulated === undefined ? 'request-goes-on' : 'simulated-request-stopped'
  return orInterrupted(following, (signal) => new Interruption(signal, code, { event: name, request: id }))
}

async function follow({ engine, mesh, journal, id, name, data, quiet }: Following): Promise<RequestRecord> {
  await engine.send({ id, name, data })
  const pickedUp = 20
  await pWaitFor(async () => (await journal.readRequest(id)) !== undefined, {
    interval: 100,
    timeout: pickedUp * 1000,
  }).catch((thrown: unknown) => {
    throw new OnehopError(
      'engine-cannot-call-worker',
      { request: id, seconds: pickedUp, listen: mesh.worker.listen },
      { cause: thrown },
    )
  })
  const show = quiet ? { update: () => {}, done: () => {} } : liveLines(id)
  const record = await pWaitFor(
    async () => {
      const found = await journal.readRequest(id)
      show.update(await journal.list(), found)
      return found && isSettled(found) ? pWaitFor.resolveWith(found) : false
    },
    { interval: 200 },
  )
  show.done()
  return record.state === 'running' ? { ...record, state: 'failed', failure: lost(record) } : record
}

/** Ended; or lost, and no worker has noticed it for longer than a worker takes. */
const isSettled = (record: RequestRecord) =>
  record.state !== 'running' || (isLost(record) && Date.parse(record.deadline) + 30_000 < Date.now())

const lost = ({ id, phase = 'its start', deadline }: RequestRecord) =>
  new OnehopError('run-lost', { request: id, phase, deadline }).toJSON()

type Send = { meshFile: string; name: EventName; data: Record<string, unknown>; quiet: boolean }
type Following = Omit<Send, 'meshFile'> & { engine: Engine; mesh: Mesh; journal: Journal; id: string }

function liveLines(id: string) {
  const started = Date.now()
  const terminal = process.stderr.isTTY ? createLogUpdate(process.stderr) : undefined
  const seen = new Map<string, string>()
  return {
    update(entries: Entry[], request: RequestRecord | undefined) {
      const mine = entries.filter((each) => each.request.startsWith(id))
      const seconds = Math.round((Date.now() - started) / 1000)
      // Before it has come to a service, its step is all that there is to see.
      const steps =
        mine.length === 0 && request?.phase !== undefined
          ? [{ name: request.event, phase: request.phase }]
          : []
      const line = (each: Entry) =>
        `${each.service.padEnd(14)} ${phaseOf(each).padEnd(20)} ${`${seconds} s`.padEnd(7)} ${each.probe ? `last probe ${each.probe.ms} ms` : ''}`
      if (terminal)
        return terminal(
          [...steps.map(({ name, phase }) => `${name}: ${phase}  ${seconds} s`), ...mine.map(line)].join(
            '\n',
          ),
        )
      for (const { name, phase } of [
        ...steps,
        ...mine.map((each) => ({ name: each.service, phase: phaseOf(each) })),
      ]) {
        if (seen.get(name) === phase) continue
        seen.set(name, phase)
        process.stderr.write(`${name}: ${phase} (${seconds} s)\n`)
      }
    },
    done: () => terminal?.done(),
  }
}

function phaseOf({ state, changes }: Entry): string {
  if (state !== 'exposing') return state
  if (changes.some((each) => each.id === 'switch' && !each.undone)) return 'switched, soaking'
  return changes.some((each) => !each.undone) ? 'exposing, proving' : 'preflight'
}
