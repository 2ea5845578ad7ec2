import { join } from 'node:path'
import { beforeAll, describe, expect } from 'vitest'
import { policyApiContract } from '../contract/policy-api.ts'
import { tailnetContract } from '../contract/tailnet.ts'
import { onehop, read, world } from './panda.ts'
import { kubernetes, operatorClient, poll, tailscale, unknownClient } from './panda-systems.ts'

// The simulated tailnet passes the same ones (test/unit/contract/tailnet.test.ts and policy-api.test.ts).
beforeAll(async () => expect((await onehop('operator', 'install')).envelope.error).toBeNull())

describe('the policy', () =>
  policyApiContract(async () => {
    const { text } = await tailscale.policy()
    return { tailscale, [Symbol.asyncDispose]: () => setPolicy(text) }
  }))

let made = 0
describe('the tailnet', () =>
  tailnetContract(async () => {
    const { text } = await tailscale.policy()
    await setPolicy(policy)
    const names: string[] = []
    const earlier = refusals().length
    return {
      ...{ kubernetes, tailscale, operatorClient, unknownClient, poll },
      ...{ tailnet: 'tail7af24.ts.net', machine: 'panda', neighbour: 'clanker-001' },
      operatorNamespace: 'tailscale',
      async makeService(): Promise<[string, string]> {
        const name = `contract-tailnet-${++made}`
        await world.kubectl(['-n', 'joelclaw', 'create', 'service', 'clusterip', name, '--tcp=80'])
        names.push(name)
        return ['joelclaw', name]
      },
      refusedKey: () => poll(async () => refusals().length > earlier).toBe(true),
      async [Symbol.asyncDispose]() {
        if (names.length > 0) await world.kubectl(['-n', 'joelclaw', 'delete', 'service', ...names])
        await setPolicy(text)
      },
    }
  }))

async function setPolicy(text: string): Promise<void> {
  const { etag } = await tailscale.policy()
  await tailscale.setPolicy({ text, etag })
}

/** The login keys that the operator has asked for and was refused. */
const refusals = () =>
  read(join(world.folder, 'logs/tailscale-api.jsonl'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { client: string; method: string; path: string; status: number })
    .filter(
      ({ client, method, path, status }) =>
        client === 'operator' && method === 'POST' && path.endsWith('/keys') && status !== 200,
    )

const policy = `{
  "hosts": {"panda": "100.64.0.1"},
  "tagOwners": {
    "tag:k8s-operator": ["joel@"],
    "tag:svc-contract": ["tag:k8s-operator"],
    "tag:svc-unowned": ["joel@"],
  },
  "grants": [
    {"src": ["joel@"], "dst": ["joel@"], "ip": ["*"]},
    {"src": ["panda"], "dst": ["tag:svc-contract", "tag:svc-unowned"], "ip": ["tcp:80"]},
  ],
}
`
