import { OnehopError } from '../src/errors.ts'
import type { Systems } from '../src/systems/systems.ts'
import type { Cluster } from './cluster.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** The tailnet as src/systems/tailscale.ts sees it: panda, the operator, and the devices of the simulated cluster. */
export function createMemoryTailscale({
  effect,
  cluster,
  by,
  tailnet,
  policy,
  written = () => undefined,
  client = 'onehop',
}: Options): Systems['tailscale'] {
  const lost = () => new OnehopError('tailscale-unreachable', { url: 'sim', message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'tailscale', what, lost }, work)
  const known = { online: true, lastSeen: 'now' }
  const own = [
    {
      id: 'panda',
      name: `panda.${tailnet}`,
      hostname: 'panda',
      addresses: ['100.64.0.1'],
      tags: [],
      ...known,
    },
    {
      id: 'operator',
      name: `tailscale-operator.${tailnet}`,
      hostname: 'tailscale-operator',
      addresses: ['100.64.0.2'],
      tags: ['tag:k8s-operator'],
      ...known,
    },
  ]
  return {
    devices: () =>
      get('devices', () => [
        ...own,
        ...[...cluster.devices.values()].map(({ address, ...each }) => ({
          ...each,
          ...known,
          addresses: [address],
        })),
      ]),
    policy: () => get('policy', () => ({ text: policy.text, etag: `"${policy.version}"` })),
    // The operator is there and ours in every case.
    clientId: async () => client,
    signIn: async () => undefined,
    refuseManagedElsewhere: async () => undefined,
    tryKey: async () => undefined,
    deleteDevice: async () => undefined,
    setPolicy: ({ text, etag }) =>
      effect(by, { system: 'tailscale', what: 'setPolicy', lost, writes: true }, () => {
        if (etag !== `"${policy.version}"`) throw new OnehopError('policy-stale')
        const before = policy.text
        Object.assign(policy, { text, version: policy.version + 1 })
        written(before)
      }),
    peers: () =>
      get('peers', () =>
        Object.fromEntries(
          [...cluster.devices.values()].map(({ name, address }) => [
            name,
            { addresses: [address], reachable: true, direct: true },
          ]),
        ),
      ),
  }
}

type Options = {
  effect: Conditions['effect']
  cluster: Cluster
  by: Process
  tailnet: string
  client?: string
  policy: { text: string; version: number }
  /** Hears of each write, with the text before it. */
  written?: (before: string) => void
}
