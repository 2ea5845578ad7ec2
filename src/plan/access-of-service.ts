import { lookup } from './lookup.ts'
import type { ClusterService, Mesh } from './mesh.ts'
import { judgeAccess } from './policy.ts'
import { type Access, wantedAccess } from './policy-access.ts'
import type { Piece, Policy } from './policy-text.ts'
import { remember } from './remember.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * What a service needs of the policy as it is, judged once for all who ask: nothing, where mesh.yaml leaves the policy
 * alone or the policy was not read.
 *
 * @throws OnehopError policy-*
 */
export function accessOfService(mesh: Mesh, service: ClusterService, snapshot: Snapshot): ServiceAccess {
  return judgments(snapshot)(service)(mesh)
}

export type ServiceAccess = { access: Access; policy: Policy; added: Piece[] } | undefined

const judgments = remember((snapshot: Snapshot) =>
  remember((service: ClusterService) =>
    remember((mesh: Mesh): ServiceAccess => {
      const { tailnet } = snapshot
      // A host alias needs the address of its machine, so both the policy and the devices must have been read.
      const access = tailnet && wantedAccess(mesh, service, tailnet.devices)
      const policy = access && lookup(snapshot).policy()
      return policy && { access, policy, added: judgeAccess(policy, access).added }
    }),
  ),
)
