import type { RemovalResult } from '../functions/remove-operator.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

/** onehop operator remove: sends mesh/operator.remove.requested and follows it. */
export async function operatorRemove({ mesh, json }: { mesh: string; json?: boolean }): Promise<Answer> {
  const { result, failure } = await sendAndFollow({
    meshFile: mesh,
    name: 'mesh/operator.remove.requested',
    data: {},
    quiet: Boolean(json),
  })
  const removal = result as RemovalResult | null
  if (removal?.state !== 'removed') return { result, text: '', failure, next: ['onehop status'] }
  const said = removal.changed
    ? 'the operator and its device are gone'
    : 'there is no operator of onehop; nothing was changed'
  return { result, text: [said, ...removal.notes].join('\n'), failure, next: ['onehop plan'] }
}
