import { expect, test } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryTailscale } from '../../../simulated/tailscale.ts'
import { policyApiContract } from '../../contract/policy-api.ts'

// The sandbox's stand-in in front of Headscale passes the same ones (test/real/contract-tailnet.test.ts).
policyApiContract(async () => ({ ...made(), [Symbol.asyncDispose]: async () => undefined }))

test('a policy that is managed elsewhere is read, and not written', async () => {
  const { cluster, tailscale } = made()
  cluster.state.policy.managedElsewhere = 'https://github.test/policy'
  const before = await tailscale.policy()
  await expect(tailscale.setPolicy(before)).rejects.toMatchObject({
    code: 'policy-managed-elsewhere',
    message: expect.stringContaining('https://github.test/policy'),
  })
  await expect(tailscale.refuseManagedElsewhere()).rejects.toMatchObject({ code: 'policy-managed-elsewhere' })
})

function made() {
  const cluster = createCluster({ random: () => 0, tailnet: 'sim.ts.net', changed: () => undefined })
  const by = { name: 'test', alive: true }
  return { cluster, tailscale: createMemoryTailscale({ effect: undisturbed.effect, cluster, by }) }
}
