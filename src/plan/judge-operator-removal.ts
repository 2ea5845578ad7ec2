import { type Failure, OnehopError } from '../errors.ts'
import type { Entry, RequestRecord } from '../journal-records.ts'
import type { OperatorObjects } from '../systems/operator-objects.ts'

/** Why the operator must stay as the world is now, if it must. `request` is the one that asks; `requests` leave out the lost. */
export function judgeOperatorRemoval({
  namespace,
  cluster,
  request,
  objects,
  users,
  entries,
  requests,
}: Looked): Failure | undefined {
  const foreign = entries.find((each) => each.state !== 'restored' && each.cluster !== cluster)
  if (foreign)
    return refusal('cluster-changed', { service: foreign.service, expected: foreign.cluster, found: cluster })
  const running = otherWork(requests, request)
  if (running) return refusal('request-in-progress', running)
  // Its OAuth Secret says whose it is: without ours, an operator that runs is somebody else's.
  if (objects.secret === 'other' || (objects.running && objects.secret !== 'ours'))
    return refusal('operator-not-ours', { namespace })
  const moved = entries
    .filter((each) => each.state !== 'restored')
    .map((each) => `${each.service} (${each.state})`)
  const needed = [...moved, ...users]
  return needed.length > 0 ? refusal('operator-in-use', { users: listed(needed) }) : undefined
}

/** What there is to do: nothing, where nothing of ours is left. */
export const isRemoved = ({ namespace, secret, proxyClass }: OperatorObjects) =>
  ![namespace, secret, proxyClass].includes('ours')

export type Looked = {
  namespace: string
  cluster: string
  request: string
  objects: OperatorObjects
  users: string[]
  entries: Entry[]
  requests: RequestRecord[]
}

/** While services move, or the operator is being installed, it is needed, though nothing may show it yet. */
function otherWork(requests: RequestRecord[], request: string) {
  const found = requests.find(
    (each) => each.id !== request && each.state === 'running' && needsOperator.has(each.event),
  )
  return found && { service: 'the operator', request: found.id, attempt: found.phase ?? 'begun' }
}

const needsOperator = new Set([
  'mesh/migration.requested',
  'mesh/service.expose.requested',
  'mesh/service.rollback.requested',
  'mesh/rollback.requested',
  'mesh/operator.install.requested',
])

const refusal = (...args: ConstructorParameters<typeof OnehopError>): Failure =>
  new OnehopError(...args).toJSON()

const listed = (all: string[]) =>
  all.length > 8 ? `${all.slice(0, 8).join(', ')} and ${all.length - 8} more` : all.join(', ')
