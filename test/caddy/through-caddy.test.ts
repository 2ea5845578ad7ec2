import { once } from 'node:events'
import { createServer } from 'node:http'
import { createProbes } from '../../src/systems/probes.ts'
import { throughCaddyContract } from '../contract/through-caddy.ts'
import { startCaddy } from './start-caddy.ts'

// The simulation's Caddy passes the same ones (test/unit/contract/through-caddy.test.ts).
throughCaddyContract(async (write) => {
  const upstreams = await Promise.all(['one', 'two'].map(answering))
  const [one = '', two = ''] = upstreams.map(({ address }) => address)
  // Port 1 is below what anybody but root may take, and nothing has listened there for decades.
  const started = await startCaddy((ports) => write({ ports, one, two, dead: '127.0.0.1:1' }))
  return {
    ...{ probes: createProbes(), ports: started.ports },
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]()
      for (const { server } of upstreams) server.close()
    },
  }
})

async function answering(body: string) {
  const server = createServer((_, response) => response.end(body)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const found = server.address()
  return { server, address: `127.0.0.1:${typeof found === 'object' && found ? found.port : 0}` }
}
