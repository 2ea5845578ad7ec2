import { resolve } from 'node:path'
import { OnehopError } from '../errors.ts'
import { describeWorld, diffWorlds } from '../plan/describe-world.ts'
import { isClusterService } from '../plan/mesh.ts'
import { renderBlocked } from '../plan/render-plan.ts'
import { openPlan, refuseForeign, type SavedPlan } from '../plan/saved-plan.ts'
import { isWhole, planUnread, type Snapshot } from '../plan/snapshot.ts'
import { createSetup } from '../setup.ts'
import { readPlanFile } from '../systems/plan-file.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import { sendAndFollow } from './follow.ts'
import { migrationAnswer } from './migration-answer.ts'
import type { Answer } from './output.ts'

/**
 * onehop migrate --plan FILE: moves what the saved plan names, if the world is still the one that it was made of; else it
 * says what has moved. The request carries the plan's hash, and the worker looks once more before its first change.
 *
 * @throws OnehopError plan-unreadable, plan-invalid, plan-newer, plan-foreign
 */
export async function migrateByPlan({ mesh, quiet, file, services: named }: Flags): Promise<Answer> {
  if (named.length > 0)
    throw new OnehopError('flag-invalid', {
      message: 'a saved plan names its services itself: pass none beside --plan',
      command: 'migrate',
    })
  const saved = openPlan(await readPlanFile(file), file)
  const before = await compare({ mesh, file, saved })
  if ('unread' in before) return unreadAnswer(before.unread)
  if (before.moved.length > 0) return refusal(before)
  const { services, hash: plan } = saved
  const data = { ...(services && { services }), plan }
  const record = await sendAndFollow({ meshFile: mesh, name: 'mesh/migration.requested', data, quiet })
  // The worker has only the hash: what moved in this moment is told here.
  if (record.failure?.code === 'plan-moved') {
    const after = await compare({ mesh, file, saved })
    if ('moved' in after && after.moved.length > 0) return refusal(after)
  }
  const answer = migrationAnswer(record)
  const text = [...harmlessLines(before), answer.text].filter(Boolean).join('\n')
  return { ...answer, result: { ...(answer.result as object), harmless: before.harmless }, text }
}

type Flags = { mesh: string; quiet: boolean; file: string; services: string[] }
type Differences = ReturnType<typeof diffWorlds>

/** The world of the plan beside the one that is there now, if that could be read whole. @throws OnehopError plan-foreign */
async function compare({
  mesh: meshFile,
  file,
  saved,
}: {
  mesh: string
  file: string
  saved: SavedPlan
}): Promise<Differences | { unread: Snapshot }> {
  const work = await createSetup(meshFile).work()
  const snapshot = await takeSnapshot(work)
  if (!isWhole(snapshot)) return { unread: snapshot }
  const known = new Set(work.mesh.services.filter(isClusterService).map((each) => each.name))
  const gone = (saved.services ?? []).filter((name) => !known.has(name))
  if (gone.length > 0)
    return { moved: gone.map((name) => `mesh.yaml: services.${name} is gone`), harmless: [] }
  const world = describeWorld(work.mesh, snapshot, { names: saved.services ?? undefined })
  refuseForeign(saved, { file, mesh: resolve(meshFile), tailnet: work.mesh.tailnet, world })
  return diffWorlds(saved.world, world)
}

function unreadAnswer(snapshot: Snapshot): Answer {
  const problems = snapshot.failures
  return {
    result: { problems },
    text: renderBlocked({ problems, services: [] }).join('\n').trimEnd(),
    failure: planUnread(snapshot)?.toJSON(),
    next: ['onehop check'],
  }
}

function refusal({ moved, harmless }: Differences): Answer {
  const shown = moved.slice(0, 5).join('; ')
  const more = moved.length > 5 ? `; and ${moved.length - 5} more` : ''
  return {
    result: { moved, harmless },
    text: [...moved.map((each) => `moved: ${each}`), ...harmlessLines({ moved, harmless })].join('\n'),
    failure: new OnehopError('plan-moved', { moved: `${shown}${more}` }).toJSON(),
    next: ['onehop plan --out FILE'],
  }
}

const harmlessLines = ({ harmless }: Differences) =>
  harmless.length > 0 ? [`changed since the plan was made, and harmless: ${harmless.join('; ')}`] : []
