import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { OnehopError } from '../errors.ts'
import { hashOfWorld, type World } from './describe-world.ts'
import { problemsOf } from './mesh.ts'
import type { Plan } from './plan.ts'

/**
 * A plan as a file: what it was made of, and its hash, by which a migration can be asked to do this and nothing else. The
 * changes are in it for whoever reads the file; a migration makes its own, from the same world.
 */
export type SavedPlan = Omit<z.output<typeof schema>, 'seal'>

export function savePlan({
  plan,
  ...rest
}: Omit<SavedPlan, 'version' | 'hash' | 'changes'> & { plan: Plan }) {
  const lines = (changes: Plan['operator']['changes']) => changes.map(({ sign, what }) => `${sign} ${what}`)
  const saved: SavedPlan = {
    version: 1,
    hash: hashOfWorld(rest.world, rest.services ?? undefined),
    ...rest,
    changes: [...lines(plan.operator.changes), ...plan.services.flatMap((each) => lines(each.changes))],
  }
  return { hash: saved.hash, text: `${JSON.stringify({ ...saved, seal: sealOf(saved) }, null, 2)}\n` }
}

/**
 * A plan that was read from `file`. The seal shows a slip of the hand or a torn copy; it is no signature.
 *
 * @throws OnehopError plan-invalid, plan-newer
 */
export function openPlan(text: string, file: string): SavedPlan {
  const invalid = (message: string) => new OnehopError('plan-invalid', { file, message })
  const found = parsed(text)
  if (found === undefined) throw invalid('it is not JSON')
  const { version } = z
    .looseObject({ version: z.int().catch(1) })
    .catch({ version: 1 })
    .parse(found)
  if (version > 1) throw new OnehopError('plan-newer', { file, version })
  const read = schema.safeParse(found)
  if (!read.success) throw invalid(problemsOf(read.error))
  const { seal, ...plan } = read.data
  if (seal !== sealOf(plan)) throw invalid('it was changed after it was written')
  if (plan.hash !== hashOfWorld(plan.world, plan.services ?? undefined))
    throw invalid('its hash is not that of what it was made of')
  return plan
}

/** Whether a plan is one of this mesh.yaml and this cluster. @throws OnehopError plan-foreign */
export function refuseForeign(
  plan: SavedPlan,
  { file, mesh, tailnet, world }: { file: string; mesh: string; tailnet: string; world: World },
): void {
  const differing = [
    ['mesh.yaml', plan.mesh, mesh],
    ['tailnet', plan.tailnet, tailnet],
    ['cluster', plan.world.facts.cluster?.id ?? '', world.facts.cluster?.id ?? ''],
  ].find(([, expected, found]) => !isDeepStrictEqual(expected, found))
  if (!differing) return
  const [what = '', expected = '', found = ''] = differing
  throw new OnehopError('plan-foreign', { file, what, expected, found })
}

const facts = z.record(z.string(), z.record(z.string(), z.string()))
const schema = z.strictObject({
  version: z.literal(1),
  /** Over the facts and which services: what a request carries. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  madeAt: z.string(),
  mesh: z.string(),
  tailnet: z.string(),
  /** Those that were named; null: all. */
  services: z.array(z.string()).min(1).nullable(),
  world: z.strictObject({ facts, harmless: facts }),
  changes: z.array(z.string()),
  seal: z.string(),
})

/** Over the keys in a fixed order: a tool that only formats the file anew breaks nothing. */
const sealOf = ({ version, hash, madeAt, mesh, tailnet, services, world, changes }: SavedPlan) =>
  createHash('sha256')
    .update(JSON.stringify([version, hash, madeAt, mesh, tailnet, services, world, changes]))
    .digest('hex')

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
