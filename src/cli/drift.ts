import { styleText } from 'node:util'
import { driftRecord } from '../drift-record.ts'
import { type Failure, OnehopError } from '../errors.ts'
import type { Repair, RepairResult } from '../functions/repair-drift.ts'
import type { DriftFound } from '../plan/drift.ts'
import { type Drift, driftId, isDriftName, isNamed, type Severity } from '../plan/drift-kinds.ts'
import { createSetup } from '../setup.ts'
import { lookForDrift } from '../steps/look-for-drift.ts'
import { confirm } from './confirm.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

type Flags = {
  mesh: string
  json?: boolean
  yes?: boolean
  repair?: true | string[]
  detailedExitcode?: boolean
}

/**
 * onehop drift: looks here and now, as the schedule does, and needs no engine for it. With --repair it sends
 * mesh/drift.repair.requested and follows it. Exit 0 where nothing drifted; where something did, 2 with
 * --detailed-exitcode. What could not be looked at is a failure.
 */
export async function drift({ mesh, json, yes, repair, detailedExitcode }: Flags): Promise<Answer> {
  const unknown = (Array.isArray(repair) ? repair : []).find((each) => !isDriftName(each))
  if (unknown !== undefined)
    throw new OnehopError('flag-invalid', {
      message: `--repair ${unknown}: expected a kind of drift (docs/drift.md), or "kind subject" as onehop drift prints it`,
      command: 'drift',
    })
  const work = await createSetup(mesh).work()
  const found = await lookForDrift(work)
  if (repair) return repaired({ mesh, json: Boolean(json), yes: Boolean(yes), found, names: repair })
  const since = new Map(
    ((await driftRecord(work.journal).last())?.drifts ?? []).map((each) => [driftId(each), each.since]),
  )
  const drifts = found.drifts.map((each) => ({ ...each, since: since.get(driftId(each)) ?? null }))
  const [failure] = found.failures
  const mendable = drifts.some((each) => each.mend)
  return {
    result: { ...found, drifts },
    text: renderDrift(found),
    next: mendable ? ['onehop drift --repair'] : [],
    failure,
    ...(!failure && { exit: detailedExitcode && drifts.length > 0 ? 2 : 0 }),
  }
}

async function repaired({ mesh, json, yes, found, names }: Repairing): Promise<Answer> {
  const isMeant = (each: Drift) => names === true || isNamed(each, names)
  const meant = found.drifts.filter((each) => each.mend && isMeant(each))
  const [failure] = found.failures
  if (failure) return { result: found, text: renderDrift(found), failure }
  if (meant.length === 0)
    return { result: { repairs: [] }, text: 'there is nothing to repair', next: ['onehop drift'] }
  if (!yes)
    await confirm({
      command: 'drift',
      text: meant.map((each) => `${driftId(each)}: ${each.repair ?? each.cure}`).join('\n'),
      question: 'Repair this? (yes/no) ',
    })
  const record = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/drift.repair.requested',
    data: { drifts: meant.map(driftId) },
    quiet: json,
  })
  const result = record.result as RepairResult | null
  return {
    result: { request: record.id, state: record.state, repairs: result?.repairs ?? [] },
    text: (result?.repairs ?? []).map(repairLine).join('\n'),
    failure: record.failure,
    next: ['onehop drift'],
  }
}

type Repairing = {
  mesh: string
  json: boolean
  yes: boolean
  found: DriftFound
  names: true | string[]
}

function renderDrift({ drifts, known, failures, unseen, checked }: DriftFound): string {
  const lines = drifts.flatMap((each) => [
    `${mark(each.severity)} ${driftId(each)}: ${each.what}`,
    ...(each.cause ? [`    cause:  ${each.cause}`] : []),
    each.repair
      ? `    repair: ${each.repair} (onehop drift --repair ${each.kind})`
      : `    fix:    ${each.cure}`,
  ])
  const folded = known.length > 0 ? [`known, as mesh.yaml says: ${known.map(driftId).join('; ')}`] : []
  const unread = [
    ...failures.map(({ code, message }: Failure) => `not looked at: ${message}  [${code}]`),
    ...unseen.map(({ subject, why }) => `not looked at: ${subject}, ${why}`),
  ]
  const count = (severity: Severity) => drifts.filter((each) => each.severity === severity).length
  const sum =
    drifts.length > 0
      ? `${drifts.length} drifted (${count('critical')} critical, ${count('warning')} warnings), of ${checked} services moved`
      : failures.length > 0
        ? 'nothing found in what could be looked at'
        : `no drift: ${checked} services are as they were left`
  return [...lines, ...folded, ...unread, sum].join('\n')
}

const marks = { critical: ['red', '×'], warning: ['yellow', '‼'], info: ['cyan', 'i'] } as const
const mark = (severity: Severity) => {
  const [colour, sign] = marks[severity]
  return styleText(colour, sign, { stream: process.stdout })
}

const repairLine = ({ drift: id, state, failure }: Repair) =>
  `${id}: ${state}${failure ? `: ${failure.message}  [${failure.code}]` : ''}`
