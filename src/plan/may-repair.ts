import type { Drift } from './drift-kinds.ts'
import { isClusterService, type Mesh } from './mesh.ts'

/** Whether mesh.yaml lets a drift be repaired by itself: the service's own word comes before the general one. */
export function mayRepair(mesh: Mesh, { kind, subject, mend }: Drift): boolean {
  if (mend === undefined) return false
  const service = mesh.services.filter(isClusterService).find((each) => each.name === subject)
  const allowed = service?.repair ?? mesh.drift.repair
  return typeof allowed === 'boolean' ? allowed : allowed.includes(kind)
}
