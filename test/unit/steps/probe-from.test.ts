import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { parseMesh, selectServices } from '../../../src/plan/mesh.ts'
import { probeFrom, sawNothing } from '../../../src/steps/probe-from.ts'
import type { Answer, Target } from '../../../src/systems/probes.ts'
import type { Systems } from '../../../src/systems/systems.ts'
import type { Peer } from '../../../src/systems/tailscale.ts'

const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const mesh = parseMesh(
  stringify({
    kubernetes: { context: 'none' },
    tailnet: 'a.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile' },
    engine: { url: 'http://localhost:1' },
    services: { redis: { service: 'apps/redis', ports: [6379, { port: 6380, portMap: 1 }] } },
  }),
  'mesh.yaml',
)
const [service] = selectServices(mesh)

function machine({ tcp, peers }: { tcp: (target: Target) => Answer; peers: () => Record<string, Peer> }) {
  return {
    probes: { tcp: async (target: Target) => tcp(target) },
    tailscale: { peers: async () => peers() },
  } as unknown as Pick<Systems, 'probes' | 'tailscale'>
}
const peer = (direct: boolean) => ({ 'redis.a.ts.net': { addresses: [], reachable: true, direct } })

test('every port of the device name is asked in each round, and the way is counted', async () => {
  if (!service) throw new Error('no service')
  let asked = 0
  const systems = machine({
    tcp: ({ port }) => {
      asked++
      return port === 6379
        ? { ok: true, ms: 2 }
        : { ok: false, ms: 1, message: 'm'.repeat(999), refused: true }
    },
    // Known before the first probe, relayed in the first round, direct in the second.
    peers: () => peer(asked > 2),
  })
  const seen = await probeFrom(systems, mesh, { service, rounds: 2, every: 0.01 })
  expect(seen).toMatchObject({ direct: 1, relayed: 1 })
  expect(seen.answers.map(({ port, ok }) => `${port} ${ok}`)).toEqual([
    '6379 true',
    '6380 false',
    '6379 true',
    '6380 false',
  ])
  expect(seen.answers[1]?.message).toHaveLength(300)
})

test('the first probe waits until tailscaled knows the peer', async () => {
  if (!service) throw new Error('no service')
  const order: string[] = []
  const systems = machine({
    tcp: () => {
      order.push('probe')
      return { ok: true, ms: 2 }
    },
    peers: () => {
      order.push('peers')
      if (order.length === 1) throw new Error('tailscaled is starting')
      return order.length < 3 ? {} : peer(true)
    },
  })
  await probeFrom(systems, mesh, { service, rounds: 1, every: 1 })
  expect(order.slice(0, 4)).toEqual(['peers', 'peers', 'peers', 'probe'])
})

test('what kept it from looking is told, too', () => {
  expect(sawNothing(new Error('no mesh.yaml'))).toEqual({
    answers: [],
    direct: 0,
    relayed: 0,
    failure: 'no mesh.yaml',
  })
})
