import { writeFileSync } from 'node:fs'
import type { RequestRecord } from '../../src/journal-records.ts'
import {
  caddyfile,
  engine,
  entryOf,
  meshFile,
  onehop,
  read,
  requestOf,
  sendEvent,
  serviceOwned,
  waitFor,
  world,
} from './panda.ts'

/** The steps of a move of one service, in order, as the journal names them; and those of its rollback. */
export const phases = [
  'operator: look',
  'wave 1: preflight',
  'qdrant/expose: record',
  'qdrant/expose: prove',
  'wave 1/switch: apply',
  'wave 1/soak: prove (1)',
] as const
export const undoPhases = [
  'qdrant/switch: undo',
  'qdrant/expose: undo',
  'qdrant/expose: prove undone',
] as const
/** Every phase takes minutes: `ONEHOP_ALL_PHASES=1 npm test` goes through all; otherwise every third, the last among them. */
export const sampled = <T>(all: readonly T[]): T[] =>
  process.env.ONEHOP_ALL_PHASES ? [...all] : all.filter((_, index) => (all.length - 1 - index) % 3 === 0)

type Phase = (typeof phases)[number] | (typeof undoPhases)[number]

/** mesh.yaml with an engine that is given up after a few seconds instead of two minutes, until it is disposed. */
export function impatient(seconds = 6, lost: 'rollback' | 'resume' = 'rollback'): Disposable {
  const before = read(meshFile)
  const engine = `watch: { every: 1, failures: 3 }\nengine:\n  patience: ${seconds}\n  lost: ${lost}\n`
  writeFileSync(meshFile, before.replace('engine:\n', engine))
  return { [Symbol.dispose]: () => writeFileSync(meshFile, before) }
}

/** Waits until a request is in a phase, or beyond it. */
export async function reached(id: string, phase: Phase): Promise<void> {
  const order: readonly string[] = [...phases, ...undoPhases]
  const from = order.indexOf(phase)
  await waitFor(phase, () => order.indexOf(phaseOf(id) ?? '') >= from, 60)
}

const phaseOf = (id: string) => (requestOf(id) as RequestRecord | undefined)?.phase

/** What qdrant and the Caddyfile are to their owner. */
export const whole = async () => ({ caddyfile: read(caddyfile), owned: await serviceOwned('qdrant') })

/** Waits until qdrant is settled and nothing runs, and gives its end state. */
export async function settled(seconds = 120): Promise<string> {
  await waitFor(
    'qdrant to be settled and no request to run',
    async () => {
      const { envelope } = await onehop('status')
      const { requests } = envelope.result as unknown as { requests: unknown[] }
      return requests.length === 0 && ['moved', 'restored'].includes(entryOf('qdrant')?.state ?? 'restored')
    },
    seconds,
  )
  return entryOf('qdrant')?.state ?? 'untouched'
}

/** Brings qdrant to where it is moved, and begins its rollback. */
export async function beginRollback(id: string): Promise<void> {
  if (entryOf('qdrant')?.state !== 'moved') await onehop('expose', 'qdrant')
  await sendEvent(id, 'mesh/service.rollback.requested', { service: 'qdrant' })
}

/** The pod of the engine is killed; what it knew of its runs is lost with it. */
export const killEngine = () =>
  world.kubectl(['-n', 'joelclaw', 'delete', 'pod', 'inngest-0', '--grace-period=0', '--force'])

export const scaleEngine = (replicas: number) =>
  world.kubectl(['-n', 'joelclaw', 'scale', 'statefulset/inngest', `--replicas=${replicas}`])

/** Waits until the engine is there and has the worker. */
export async function engineBack(): Promise<void> {
  await waitFor(
    'the engine to be back with the worker',
    async () => {
      const { apps } = await engine<{ apps: Array<{ name: string; connected: boolean }> }>(
        '{ apps { name connected } }',
      )
      return apps.some((each) => each.name === 'onehop' && each.connected)
    },
    120,
  )
}

/** Cancels a run as the dashboard does. */
export const cancel = (run: string | undefined) =>
  engine('mutation($id: ULID!) { cancelRun(runID: $id) { id } }', { id: run })
