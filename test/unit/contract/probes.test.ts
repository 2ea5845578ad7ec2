import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type Server } from 'node:net'
import { describe } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryProbes } from '../../../simulated/probes.ts'
import { createProbes } from '../../../src/systems/probes.ts'
import { probesContract } from '../../contract/probes.ts'

const runId = '0123456789abcdef0123456789abcdef01234567'

describe('real sockets', () =>
  probesContract(async () => {
    const servers: Server[] = []
    const listening = async (server: Server) => {
      servers.push(server.listen(0, '127.0.0.1'))
      await once(server, 'listening')
      const address = server.address()
      return { host: '127.0.0.1', port: typeof address === 'object' && address ? address.port : 0 }
    }
    // Port 1 is below what anybody but root may take, and nothing has listened there for decades.
    const silent = { host: '127.0.0.1', port: 1 }
    return {
      probes: createProbes(),
      http: await listening(createServer((_, response) => response.end('me'))),
      redis: await listening(
        createTcpServer((client) =>
          client.on('data', (data) => {
            const isPing = data.toString().startsWith('PING')
            client.write(isPing ? `+PONG\r\n$48\r\nrun_id:${runId}\r\n` : '-ERR unknown command\r\n')
          }),
        ),
      ),
      silent,
      deadPortMap: await listening(
        createTcpServer((client) => {
          client.on('error', () => undefined)
          connect(silent).on('error', () => client.destroy())
        }),
      ),
      async [Symbol.asyncDispose]() {
        for (const server of servers) server.close()
      },
    }
  }))

describe("the simulation's clients", () =>
  probesContract(async () => {
    const cluster = createCluster({
      random: undisturbed.random,
      tailnet: 'sim.ts.net',
      changed: () => undefined,
    })
    const add = (name: string, port: number, speaks: 'http' | 'redis', instance: string) => {
      cluster.state.portMaps.set(port, port)
      cluster.add({
        ...{ namespace: 'apps', name, instance, clusterIP: '10.96.0.1' },
        ...{ annotations: new Map(), finalizers: [], ports: [{ name: 'main', port, speaks }] },
      })
    }
    add('s1', 9001, 'http', 'me')
    add('s2', 9002, 'redis', runId)
    cluster.state.portMaps.set(9003, 9003)
    const by = { name: 'test', alive: true }
    const at = (port: number) => ({ host: 'localhost', port })
    return {
      probes: createMemoryProbes({ effect: undisturbed.effect, cluster, by, running: () => null }),
      ...{ http: at(9001), redis: at(9002), silent: at(9004), deadPortMap: at(9003) },
      [Symbol.asyncDispose]: async () => undefined,
    }
  }))
