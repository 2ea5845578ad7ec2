import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryProbes } from '../../../simulated/probes.ts'
import { createProbes } from '../../../src/systems/probes.ts'
import { probesContract } from '../../contract/probes.ts'

describe('real sockets', () =>
  probesContract(async () => {
    const server = createServer((_, response) => response.end('me')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    return {
      probes: createProbes(),
      answers: { host: '127.0.0.1', port },
      // Port 1 is below what anybody but root may take, and nothing has listened there for decades.
      silent: { host: '127.0.0.1', port: 1 },
      [Symbol.asyncDispose]: async () => void server.close(),
    }
  }))

describe("the simulation's clients", () =>
  probesContract(async () => {
    const cluster = createCluster({
      random: undisturbed.random,
      tailnet: 'sim.ts.net',
      changed: () => undefined,
    })
    cluster.state.portMaps.set(9001, 9001)
    const ports = [{ name: 'main', port: 9001 }]
    cluster.add({
      namespace: 'apps',
      name: 's1',
      clusterIP: '10.96.0.1',
      annotations: new Map(),
      finalizers: [],
      ports,
    })
    const by = { name: 'test', alive: true }
    return {
      probes: createMemoryProbes({ effect: undisturbed.effect, cluster, by, running: () => null }),
      answers: { host: 'localhost', port: 9001 },
      silent: { host: 's1.sim.ts.net', port: 9001 },
      [Symbol.asyncDispose]: async () => undefined,
    }
  }))
