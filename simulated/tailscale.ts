import { OnehopError } from '../src/errors.ts'
import type { Systems } from '../src/systems/systems.ts'
import type { Cluster } from './cluster.ts'
import type { Conditions } from './effect.ts'
import { etagOf, judgePolicy, ownersOf, PolicyRefused } from './policy.ts'
import type { Process } from './process.ts'

/**
 * The tailnet as src/systems/tailscale.ts sees it, as one of its OAuth clients. `written` is called after each write of the
 * policy with the text before it, before the caller has its answer.
 */
export function createMemoryTailscale({
  effect,
  cluster,
  by,
  written = () => undefined,
  client = 'onehop',
}: Options): Systems['tailscale'] {
  const { state } = cluster
  const lost = () => new OnehopError('tailscale-unreachable', { url: 'sim', message: 'no answer' })
  const get = <T>(what: string, work: () => T) => effect(by, { system: 'tailscale', what, lost }, work)
  const write = (what: string, work: () => void) =>
    effect(by, { system: 'tailscale', what, lost, writes: true }, work)
  const refused = (action: string, status: number, message: string) =>
    new OnehopError('tailscale-refused', { action, status, message: JSON.stringify({ message }) })
  const self = (action: string) => {
    const found = state.clients.get(client)
    if (!found) throw refused(action, 401, 'API token invalid')
    return found
  }
  const refuseManagedElsewhere = () => {
    const { managedElsewhere: link } = state.policy
    if (link !== undefined) throw new OnehopError('policy-managed-elsewhere', { link })
  }
  return {
    devices: () =>
      get('devices', () => {
        self('listing devices')
        return [...cluster.devices.values()].map(({ id, name, hostname, address, tags, lastSeen }) => ({
          ...{ id, name, hostname, addresses: [address], tags: [...tags] },
          ...{ online: lastSeen === undefined, lastSeen: lastSeen ?? 'now' },
        }))
      }),
    policy: () => get('policy', () => ({ text: state.policy.text, etag: etagOf(state.policy.text) })),
    clientId: async () => self('reading the client').id,
    signIn: () => get('signIn', () => void self('a token for our OAuth client')),
    refuseManagedElsewhere: () => get('settings', refuseManagedElsewhere),
    tryKey: (asked) =>
      write('tryKey', () => {
        const { tags, makesKeys } = self('making a key')
        if (!makesKeys) throw refused('making a key', 403, notPermitted)
        const may = (tag: string) => {
          const owners = ownersOf(state.policy.text, tag)
          return owners !== undefined && (tags.includes(tag) || owners.some((each) => tags.includes(each)))
        }
        if (asked.length === 0 || !asked.every(may))
          throw refused(
            'making a key',
            400,
            `requested tags [${asked.join(' ')}] are invalid or not permitted`,
          )
      }),
    deleteDevice: (id) =>
      write('deleteDevice', () => {
        if (!self(`deleting device ${id}`).deletes) throw refused(`deleting device ${id}`, 403, notPermitted)
        cluster.deleteDevice(id)
      }),
    setPolicy: ({ text, etag }) =>
      write('setPolicy', () => {
        refuseManagedElsewhere()
        try {
          judgePolicy(text, cluster.devices.values())
        } catch (thrown) {
          if (!(thrown instanceof PolicyRefused)) throw thrown
          const { message, data } = thrown
          throw new OnehopError('policy-test-failed', { message, data: JSON.stringify(data) })
        }
        const before = state.policy.text
        if (etag !== etagOf(before)) throw new OnehopError('policy-stale')
        cluster.setPolicy(text)
        written(before)
      }),
    peers: () =>
      get('peers', () =>
        Object.fromEntries(
          cluster
            .peers()
            .map(({ name, address }) => [name, { addresses: [address], reachable: true, direct: true }]),
        ),
      ),
  }
}

const notPermitted = 'calling actor does not have enough permissions to perform this function'

type Options = {
  effect: Conditions['effect']
  cluster: Cluster
  by: Process
  client?: 'onehop' | 'operator'
  written?: (before: string) => void
}
