import { driftRecord, type News, type Noted } from '../drift-record.ts'
import type { Failure } from '../errors.ts'
import { isOver, type RequestRecord } from '../journal-records.ts'
import type { DriftFound } from '../plan/drift.ts'
import { driftId } from '../plan/drift-kinds.ts'
import { mayRepair } from '../plan/may-repair.ts'
import type { Setup } from '../setup.ts'
import { lookForDrift } from '../steps/look-for-drift.ts'
import { type Step, tried } from '../steps/step.ts'
import { tellWebhook } from '../steps/tell-webhook.ts'

/**
 * The scheduled look for drift: what is new, and what is over, is told once, as events and to the webhook. What mesh.yaml
 * lets be repaired is asked for, unless a repair is under way; the repair is a request of its own.
 */
export async function checkDrift(
  step: Step,
  { setup, request }: { setup: Setup; request: string },
): Promise<DriftChecked> {
  const looked = await lookAndTell(step, setup, 'drift')
  if (!looked.ok) return { state: 'failed', failure: looked.failure }
  const { found, repairs } = looked.value
  if (repairs.length > 0)
    await step.sendEvent('ask for the repair', {
      id: `${request}/repair`,
      name: 'mesh/drift.repair.requested',
      data: { drifts: repairs },
    })
  return { state: 'completed', ...found, repairs }
}

/** One look, written down and told. `repairs` are the drifts that mesh.yaml lets be repaired by themselves. */
export async function lookAndTell(step: Step, setup: Setup, id: string) {
  const looked = await tried(step, `${id}: look`, async () => {
    const work = await setup.work()
    const found = await lookForDrift(work)
    const news = await driftRecord(work.journal).note(found)
    const wanted = found.drifts.filter((each) => mayRepair(work.mesh, each)).map(driftId)
    const isBusy = (await work.journal.listRequests()).some(isRepairing)
    const repairs = isBusy ? [] : wanted.filter((id) => !news.spent.includes(id))
    return { found, news, repairs }
  })
  if (looked.ok) await tell(step, setup, id, looked.value.news)
  return looked
}

export type DriftChecked =
  | ({ state: 'completed'; repairs: string[] } & DriftFound)
  | { state: 'failed'; failure: Failure }

const isRepairing = (request: RequestRecord) =>
  request.event === 'mesh/drift.repair.requested' && !isOver(request)

/** A webhook that takes nothing holds no event back: each has its own mark, and what was not told is told at the next look. */
async function tell(step: Step, setup: Setup, id: string, { events, webhook }: Noted): Promise<void> {
  const record = async () => driftRecord(await setup.journal())
  if (isNews(events)) {
    await step.sendEvent(`${id}: tell`, eventsOf(events))
    await tried(step, `${id}: told`, async () => (await record()).told(events, 'sent'))
  }
  if (isNews(webhook)) {
    const posted = await tried(step, `${id}: webhook`, () => tellWebhook(setup, webhook))
    if (posted.ok)
      await tried(step, `${id}: webhook told`, async () => (await record()).told(webhook, 'posted'))
  }
}

const isNews = ({ detected, resolved }: News) => detected.length + resolved.length > 0

const eventsOf = ({ detected, resolved }: News) => [
  ...detected.map((data) => ({
    // A severity that was raised is news of the same drift.
    id: `${driftId(data)}/${data.since}/${data.severity}`,
    name: 'mesh/drift.detected',
    data,
  })),
  ...resolved.map((data) => ({
    id: `${driftId(data)}/${data.since}/over`,
    name: 'mesh/drift.resolved',
    data,
  })),
]
