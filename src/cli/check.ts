import { setTimeout as sleep } from 'node:timers/promises'
import { OnehopError } from '../errors.ts'
import { checkIds, checkRow, isCheckId } from '../plan/check-table.ts'
import { type CheckedGroup, judgeChecks } from '../plan/checks.ts'
import { type Mesh, selectServices } from '../plan/mesh.ts'
import { countChecks, renderChecks } from '../plan/render-checks.ts'
import { refuseSimulated } from '../refuse-simulated.ts'
import { createSetup } from '../setup.ts'
import { lookForChecks } from '../steps/look-for-checks.ts'
import { createCheckingSystems } from '../systems/checking-systems.ts'
import type { Answer } from './output.ts'

type Flags = {
  mesh: string
  json?: boolean
  pre?: boolean
  short?: boolean
  skip: string[]
  wait?: true | string
  services: string[]
}

/**
 * onehop check [service ...]: whether all that onehop needs is there, and all that is moved is as it must be; touches
 * nothing and needs no engine. With --wait it looks again until no check is a cross, or the time is over. Exit 0 without
 * a cross, 1 with one.
 */
export async function check(flags: Flags): Promise<Answer> {
  const { mesh: file, json, pre, short, services } = flags
  const setup = createSetup(file)
  const until = Date.now() + secondsOf(flags.wait) * 1000
  let said = ''
  for (;;) {
    const mesh = await setup.mesh()
    refuseSimulated(mesh, 'check')
    const skip = skipped(flags.skip, mesh)
    const names = services.length > 0 ? services : undefined
    const facts = await lookForChecks(mesh, createCheckingSystems(mesh), selectServices(mesh, names))
    const groups = judgeChecks(mesh, facts, { before: Boolean(pre), skip, names })
    const crosses = crossesOf(groups)
    const left = until - Date.now()
    if (crosses.length === 0 || left <= 0)
      return checkAnswer(groups, { crosses, short: Boolean(short), pre: Boolean(pre) })
    if (!json && said !== crosses.join(', ')) process.stderr.write(`waiting for: ${crosses.join(', ')}\n`)
    said = crosses.join(', ')
    await sleep(Math.min(pause, left))
  }
}

/** Between two looks of --wait, in ms. */
const pause = 2000

function checkAnswer(
  groups: CheckedGroup[],
  { crosses, short, pre }: { crosses: string[]; short: boolean; pre: boolean },
): Answer {
  const failure = new OnehopError('check-failed', { count: crosses.length, ids: crosses.join(', ') })
  return {
    result: { groups, ...countChecks(groups), failed: crosses },
    text: renderChecks(groups, { short }),
    next: crosses.length > 0 ? ['onehop check --wait'] : [pre ? 'onehop plan' : 'onehop status'],
    ...(crosses.length > 0 && { failure: failure.toJSON() }),
  }
}

/** As --skip takes them. */
const crossesOf = (groups: CheckedGroup[]): string[] =>
  groups.flatMap(({ service, checks }) =>
    checks.flatMap(({ id, status }) =>
      status !== 'cross' ? [] : [service === undefined ? id : `${service}/${id}`],
    ),
  )

const wrong = (message: string) => new OnehopError('flag-invalid', { message, command: 'check' })

function secondsOf(wait: Flags['wait']): number {
  if (wait === undefined) return 0
  const seconds = wait === true ? 300 : Number(wait)
  if (Number.isFinite(seconds) && seconds > 0) return seconds
  throw wrong(`--wait: expected seconds, got ${JSON.stringify(wait)} (name services before the flags)`)
}

/** Ids, apart by commas or by a flag each; what is no check is refused, so that a mistyped one does not pass unseen. */
function skipped(given: string[], mesh: Mesh): string[] {
  const ids = given.flatMap((each) => each.split(',')).filter(Boolean)
  const names = selectServices(mesh).map(({ name }) => name)
  for (const each of ids) {
    const [id = '', service] = each.split('/').reverse()
    const known =
      isCheckId(id) &&
      (service === undefined || (checkRow(id).group === 'service' && names.includes(service)))
    if (!known)
      throw wrong(`--skip: no check is called ${JSON.stringify(each)}; they are ${checkIds.join(', ')}`)
  }
  return ids
}
