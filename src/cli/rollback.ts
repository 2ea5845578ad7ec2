import { randomUUID } from 'node:crypto'
import { type RollbackResult, rollback as rollbackService } from '../functions/rollback.ts'
import { loadMesh } from '../load-mesh.ts'
import { selectServices } from '../plan/mesh.ts'
import { localStep } from '../steps/step.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

/** onehop rollback SERVICE [--local]: by mesh/service.rollback.requested, or right here with engine and worker stopped. */
export async function rollback({
  mesh,
  json,
  local,
  service,
}: {
  mesh: string
  json?: boolean
  local?: boolean
  service: string
}): Promise<Answer> {
  selectServices(await loadMesh(mesh), [service])
  if (local) {
    const run = `local ${randomUUID()}`
    return rollbackAnswer(await rollbackService(localStep, { meshFile: mesh, request: run, run, service }))
  }
  const record = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/service.rollback.requested',
    data: { service },
    quiet: Boolean(json),
  })
  return record.result
    ? rollbackAnswer(record.result as RollbackResult)
    : { result: null, text: '', failure: record.failure }
}

function rollbackAnswer(result: RollbackResult): Answer {
  const failure = result.state === 'restored' ? undefined : result.failure
  return {
    result,
    failure,
    text: `${result.service}: ${result.state}`,
    next: [failure ? 'onehop status' : `onehop expose ${result.service}`],
  }
}
