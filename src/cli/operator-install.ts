import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

/** onehop operator install: sends mesh/operator.install.requested and follows it. */
export async function operatorInstall({ mesh, json }: { mesh: string; json?: boolean }): Promise<Answer> {
  const record = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/operator.install.requested',
    data: {},
    quiet: Boolean(json),
  })
  const changed = (record.result as { changed?: boolean } | null)?.changed
  const text = record.failure
    ? ''
    : changed
      ? 'the operator is installed and on the tailnet'
      : 'the operator is there; nothing was changed'
  return { result: record.result, text, failure: record.failure, next: ['onehop plan'] }
}
