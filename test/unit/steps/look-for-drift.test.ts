import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { openJournal } from '../../../src/journal.ts'
import { driftId } from '../../../src/plan/drift-kinds.ts'
import type { Work } from '../../../src/setup.ts'
import { lookForDrift } from '../../../src/steps/look-for-drift.ts'
import { smallMesh } from '../small-mesh.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-look-for-drift-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A moved redis in a world where all is as it was left, but for what a test changes. */
async function movedWorld() {
  writeFileSync(join(folder, 'credential'), 'word\n')
  const mesh = smallMesh(folder)
  const journal = await openJournal(folder)
  const start = { request: 'r', run: 'run', cluster: 'uid', tailnet: 'a.ts.net' }
  const { attempt } = await journal.begin('redis', start)
  await journal.end('redis', attempt, { state: 'moved' })
  const world = {
    operator: { version: '1.102.4', ours: true, running: true, message: '' },
    secret: 'same' as 'same' | 'changed' | 'gone',
    ourProxyClass: true,
    /** What MagicDNS answers, one after the other, before it answers well. */
    magicDns: [] as Array<string[] | string>,
  }
  const address = '100.64.0.7'
  const ports = [{ name: '', port: 6379, nodePort: 6379 }]
  const device = { hostname: 'redis', addresses: [address], tags: ['tag:svc-redis'], online: true }
  const operator = { hostname: 'tailscale-operator', addresses: [], tags: ['tag:k8s-operator'], online: true }
  const answer = { ok: true, ms: 1 }
  const systems = {
    kubernetes: {
      clusterId: async () => 'uid',
      services: async () => [
        { namespace: 'apps', name: 'redis', uid: 'u', type: 'NodePort', annotations: {}, ports },
      ],
      namespaces: async () => ({ tailscale: 'privileged' }),
      readyPorts: async () => ({ 'apps/redis': [''] }),
      proxies: async () => ({
        'apps/redis': { fqdn: 'redis.a.ts.net', deviceId: 'd', addresses: [address], current: true },
      }),
      operator: async () => world.operator,
      proxyClassReady: async () => true,
      isOurProxyClass: async () => world.ourProxyClass,
      oauthSecretState: async () => world.secret,
    },
    tailscale: {
      devices: async () => [
        { id: 'd', name: 'redis.a.ts.net', ...device },
        { id: 'o', name: 'tailscale-operator.a.ts.net', ...operator },
      ],
      policy: async () => ({ text: '{}', etag: '1' }),
      peers: async () => ({ 'panda.a.ts.net': { addresses: ['100.64.0.1'], reachable: true, direct: true } }),
    },
    caddy: {
      version: async () => '2.11.0',
      readFile: async () => ({ text: '' }),
      compareFile: async () => ({ adapted: {}, variables: [] }),
      running: async () => ({}),
    },
    probes: {
      magicDns: async () => world.magicDns.shift() ?? [address],
      tcp: async () => answer,
    },
  }
  const look = () => lookForDrift({ mesh, journal, systems } as unknown as Work)
  return { world, systems, look }
}

const ids = ({ drifts }: Awaited<ReturnType<typeof lookForDrift>>) => drifts.map(driftId)

test('what is as it was left is no drift', async () => {
  const { look } = await movedWorld()
  expect(await look()).toMatchObject({ drifts: [], unread: [], failures: [], checked: 1 })
})

test("the Secret of an operator that onehop did not install is its owner's", async () => {
  const { world, look } = await movedWorld()
  Object.assign(world, { secret: 'changed', ourProxyClass: false })
  expect(ids(await look())).toEqual(['secret-changed operator'])
  world.operator.ours = false
  expect(await look()).toMatchObject({ drifts: [], unread: [] })
  world.secret = 'gone'
  expect(await look()).toMatchObject({ drifts: [], unread: [] })
})

test('a Secret that is gone is ours to write again where the ProxyClass says that the operator is ours', async () => {
  const { world, look } = await movedWorld()
  Object.assign(world, { secret: 'gone' })
  world.operator.ours = false
  expect((await look()).drifts).toMatchObject([{ kind: 'secret-changed', mend: 'secret' }])
})

test('a name is asked for as often as a port before it counts, but that there is none counts at once', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const { world, look } = await movedWorld()
  const looked = async () => {
    const found = look()
    await vi.waitFor(async () => {
      await vi.advanceTimersByTimeAsync(4000)
      expect(world.magicDns).toEqual([])
    })
    await vi.advanceTimersByTimeAsync(4000)
    return found
  }
  world.magicDns = ['queryA ETIMEOUT', ['100.64.9.9']]
  expect(await looked()).toMatchObject({ drifts: [], unseen: [] })
  world.magicDns = Array(3).fill(['100.64.9.9'])
  expect(ids(await looked())).toEqual(['name-elsewhere redis'])
  world.magicDns = [[]]
  expect(ids(await looked())).toEqual(['name-elsewhere redis'])
  world.magicDns = Array(3).fill('queryA ETIMEOUT')
  expect(await looked()).toMatchObject({ drifts: [], unseen: [{ subject: 'redis', part: 'paths' }] })
})
