import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

/** onehop abort [REQUEST] [--all]: sends mesh/migration.abort.requested; the migration stops at its next step. */
export async function abort({ mesh, json, all, request }: Flags): Promise<Answer> {
  const record = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/migration.abort.requested',
    data: { ...(request && { request }), ...(all && { all }) },
    quiet: Boolean(json),
  })
  const { aborted = [] } = (record.result ?? {}) as { aborted?: string[] }
  return {
    result: record.result,
    text: aborted.map((each) => `${each}: asked to stop`).join('\n'),
    failure: record.failure,
    next: ['onehop status'],
  }
}

type Flags = { mesh: string; json?: boolean; all?: boolean; request: string | undefined }
