import { ApiException } from '@kubernetes/client-node'
import { messageOf, OnehopError } from '../errors.ts'
import { shown } from '../plan/json.ts'

/** A call to the API server, whose failure becomes a coded error. The client's calls have their deadline: see kube-config.ts. @throws OnehopError kubernetes-* */
export async function coded<T>({
  context,
  action,
  work,
}: {
  context: string
  action: string
  work: Promise<T>
}): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    if (thrown instanceof ApiException && thrown.code === 409)
      throw new OnehopError(
        'kubernetes-conflict',
        { action, message: apiMessage(thrown.body) },
        { cause: thrown },
      )
    if (thrown instanceof ApiException && thrown.code < 500) {
      const message = `${apiMessage(thrown.body)} (${thrown.code})`
      throw new OnehopError('kubernetes-refused', { context, action, message }, { cause: thrown })
    }
    throw new OnehopError(
      'kubernetes-unreachable',
      { context, message: messageOf(thrown).slice(0, 300) },
      { cause: thrown },
    )
  }
}

function apiMessage(body: unknown): string {
  try {
    const parsed: unknown = typeof body === 'string' ? JSON.parse(body) : body
    return shown((parsed as { message?: unknown } | null)?.message ?? body)
  } catch {
    return shown(body)
  }
}

/** `undefined` for what is not there. */
export function orMissing<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((thrown: unknown) => {
    if (thrown instanceof ApiException && thrown.code === 404) return undefined
    throw thrown
  })
}
