import { randomUUID } from 'node:crypto'
import { createLogUpdate } from 'log-update'
import pWaitFor from 'p-wait-for'
import type { EventName } from '../../inngest.config.ts'
import { OnehopError } from '../errors.ts'
import { type Entry, isLost, type RequestRecord } from '../journal-records.ts'
import { createSetup } from '../setup.ts'

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
  await (await setup.engine()).send({ id, name, data })
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
      show.update(await journal.list())
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

function liveLines(request: string) {
  const started = Date.now()
  const terminal = process.stderr.isTTY ? createLogUpdate(process.stderr) : undefined
  const seen = new Map<string, string>()
  return {
    update(entries: Entry[]) {
      const mine = entries.filter((each) => each.request.startsWith(request))
      const seconds = Math.round((Date.now() - started) / 1000)
      const line = (each: Entry) =>
        `${each.service.padEnd(14)} ${phaseOf(each).padEnd(20)} ${`${seconds} s`.padEnd(7)} ${each.probe ? `last probe ${each.probe.ms} ms` : ''}`
      if (terminal) return terminal(mine.map(line).join('\n'))
      for (const each of mine) {
        const phase = phaseOf(each)
        if (seen.get(each.service) === phase) continue
        seen.set(each.service, phase)
        process.stderr.write(`${each.service}: ${phase} (${seconds} s)\n`)
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
