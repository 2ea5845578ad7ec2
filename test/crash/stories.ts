import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { entryOf, onehop, read, requestOf, runStatus, sendEvent, waitFor, world } from '../real/panda.ts'
import type { Story } from './cases.ts'

/** The service of both stories: it has a route through Caddy, and nothing depends on it. */
export const service = 'qdrant'

/** Where each story starts from, and what asks for it. */
export const storyOf: Record<Story, { from: 'restored' | 'moved'; event: string }> = {
  move: { from: 'restored', event: 'mesh/service.expose.requested' },
  rollback: { from: 'moved', event: 'mesh/service.rollback.requested' },
}

/** Asks for a story as an agent would, and returns the request's id. */
export async function begin(story: Story): Promise<string> {
  const id = randomUUID()
  await sendEvent(id, storyOf[story].event, { service })
  return id
}

/**
 * Waits until a request has ended and nobody is at work any more: no request runs, the service is moved or restored, and
 * the engine is done with the request's run, unless that is lost in it (it shows such a run as RUNNING for ever).
 */
export async function awaitEnd(id: string, { runIsLost = false, seconds = 90 } = {}): Promise<void> {
  await waitFor(
    'the end',
    async () => {
      const request = requestOf(id)
      if (!request) throw new Error('the request was never taken up')
      const running = requestsRunning()
      if (running.length > 0) throw new Error(`still running: ${running.join(', ')}`)
      const state = entryOf(service)?.state ?? 'restored'
      if (!/^(moved|restored|rollback-incomplete)$/.test(state)) throw new Error(`the service is ${state}`)
      if (runIsLost) return true
      const status = await runStatus(request.run)
      if (!/^(COMPLETED|FAILED|CANCELLED)$/.test(status)) throw new Error(`the engine's run is ${status}`)
      return true
    },
    seconds,
  )
}

/** Brings the service to where a story starts, without any kill. */
export async function bringTo(state: 'restored' | 'moved'): Promise<void> {
  if (standing() === state) return
  await awaitEnd(await begin(state === 'moved' ? 'move' : 'rollback'))
  if (standing() === state) return
  const { envelope } = await onehop(state === 'moved' ? 'expose' : 'rollback', service)
  if (standing() !== state)
    throw new Error(`${service} cannot be ${state}: ${JSON.stringify(envelope.error)}`)
}

/** Where the service stands by its journal. */
export const standing = () => entryOf(service)?.state ?? 'restored'

function requestsRunning(): string[] {
  const folder = join(world.panda.home, '.local/state/onehop/requests')
  return readdirSync(folder)
    .filter((file) => /^[^.].*\.json$/.test(file))
    .flatMap((file) => {
      const { id, state, phase } = JSON.parse(read(join(folder, file)))
      return state === 'running' ? [`${id} at ${phase ?? 'its start'}`] : []
    })
}
