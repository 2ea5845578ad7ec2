import type { EventName } from '../../inngest.config.ts'
import { OnehopError } from '../errors.ts'
import { rollbackHere } from '../functions/recover.ts'
import { type RemovalResult, removeOperatorHere } from '../functions/remove-operator.ts'
import { forceAction, isBack, type RollbackResult } from '../functions/rollback.ts'
import type { Journal } from '../journal.ts'
import type { Entry } from '../journal-records.ts'
import { expectKnown } from '../plan/mesh.ts'
import { createSetup, type Setup } from '../setup.ts'
import { isNarrowed, widenPolicy } from '../steps/narrow-policy.ts'
import { orInterrupted } from './end.ts'
import { sendAndFollow } from './follow.ts'
import { type Answer, Interruption } from './output.ts'

export type RollbackFlags = {
  mesh: string
  json?: boolean
  local?: boolean
  force?: boolean
  all?: boolean
  operator?: boolean
  services: string[]
}

/**
 * onehop rollback SERVICE ... | --all [--operator] [--local] [--force]: by mesh/service.rollback.requested (of several, or
 * with the operator: mesh/rollback.requested, with one reload for all), or right here with engine and worker stopped.
 * With --all a narrowed policy has its old rules again too.
 */
export async function rollback({
  mesh,
  json,
  local,
  force,
  all,
  operator,
  services: named,
}: RollbackFlags): Promise<Answer> {
  const wrong = (message: string) => new OnehopError('flag-invalid', { message, command: 'rollback' })
  if (all ? named.length > 0 : named.length === 0) throw wrong('name the services, or pass --all')
  if (force && named.length !== 1) throw wrong('--force takes one service')
  if (operator && !all)
    throw wrong('--operator goes with --all: while a service is exposed, the operator is needed')
  const setup = createSetup(mesh)
  const journal = await setup.journal()
  const touched = await journal.touched()
  expectKnown(await setup.mesh(), touched, named)
  const services = all ? touched : named
  if (local)
    return rollbackLocally(setup, {
      services,
      force: Boolean(force),
      all: Boolean(all),
      operator: Boolean(operator),
    })
  const [service = '', ...others] = services
  const code = force && (await journal.issueCode(forceAction('rollback', service)))
  const send = (name: EventName, data: Record<string, unknown>) =>
    sendAndFollow({ meshFile: mesh, name, data, quiet: Boolean(json) })
  const record =
    operator || others.length > 0
      ? await send('mesh/rollback.requested', {
          ...(services.length > 0 && { services }),
          ...(operator && { operator }),
        })
      : services.length > 0
        ? await send('mesh/service.rollback.requested', { service, ...(code && { force: code }) })
        : undefined
  if (record && !record.result) return { result: null, text: '', failure: record.failure }
  const { results, removal } = resultOf(record?.result)
  return rollbackAnswer(journal, {
    results,
    removal,
    widened: Boolean(all) && results.every(isBack) && (await widened(setup)),
  })
}

/** Here and now. Each step is told on stderr: this is the way out when nothing else goes, and it must not look as if it hung. */
async function rollbackLocally(
  setup: Setup,
  { services, force, all, operator }: { services: string[]; force: boolean; all: boolean; operator: boolean },
): Promise<Answer> {
  let phase = 'its start'
  const report = (line: string) => {
    phase = line
    process.stderr.write(`${line}\n`)
  }
  const work = async () => {
    const results = services.length > 0 ? await rollbackHere(setup, { services, force, report }) : []
    const isAllBack = results.every(isBack)
    const removal = operator && isAllBack ? await removeOperatorHere(setup, report) : undefined
    return rollbackAnswer(await setup.journal(), {
      results,
      removal,
      widened: all && isAllBack && (await widened(setup)),
    })
  }
  return orInterrupted(work(), (signal) => new Interruption(signal, 'rollback-interrupted', { phase }))
}

/** One service is answered as itself, several as a list, and with the operator as both. */
function resultOf(result: unknown): { results: RollbackResult[]; removal?: RemovalResult } {
  if (result === undefined) return { results: [] }
  const both = result as { services?: RollbackResult[]; operator?: RemovalResult }
  if (both.services && both.operator) return { results: both.services, removal: both.operator }
  return { results: [result].flat() as RollbackResult[] }
}

/** Whether the policy was narrowed, and is no longer. */
async function widened(setup: Setup): Promise<boolean> {
  if (!isNarrowed(await (await setup.journal()).readNarrowing())) return false
  await widenPolicy(await setup.work())
  return true
}

async function rollbackAnswer(
  journal: Journal,
  {
    results,
    removal,
    widened,
  }: { results: RollbackResult[]; removal?: RemovalResult | undefined; widened: boolean },
): Promise<Answer> {
  const entries = new Map((await journal.list()).map((each) => [each.service, each]))
  const services = results.map((each) => ({ ...each, ...changesOf(entries.get(each.service)) }))
  const failed = services.find((each) => !isBack(each))
  const [first, ...others] = services
  const lines = [
    ...services.flatMap(serviceLines),
    ...(removal?.state === 'removed' ? ['the operator is gone', ...removal.notes] : []),
    ...(widened ? ['the policy has its old rules again'] : []),
  ]
  return {
    result:
      first && others.length === 0 && !removal ? first : { services, ...(removal && { operator: removal }) },
    failure: failed?.failure ?? (removal?.state === 'failed' ? removal.failure : undefined),
    text: lines.join('\n') || 'there is nothing to take back',
    next: failed ? [`onehop journal ${failed.service}`] : ['onehop status'],
  }
}

/** By the journal: which changes are taken back, and which are not. */
function changesOf(entry: Entry | undefined) {
  const ids = (undone: boolean) =>
    (entry?.changes ?? []).filter((each) => each.undone === undone).map(({ id }) => id)
  return { undone: ids(true), standing: ids(false) }
}

function serviceLines(each: RollbackResult & ReturnType<typeof changesOf>): string[] {
  const { service, state, failure, undone, standing } = each
  if (isBack(each)) return [`${service}: ${state}`]
  return [
    `${service}: ${state}`,
    `  taken back: ${undone.join(', ') || 'nothing'}`,
    `  not taken back: ${standing.join(', ') || 'nothing'}`,
    ...(failure ? [`  why: ${failure.message}  [${failure.code}]`, `  fix: ${failure.fix}`] : []),
  ]
}
