import { once } from 'node:events'
import { createServer } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createEngine } from '../../../src/systems/engine.ts'

const servers: Array<ReturnType<typeof createServer>> = []
afterEach(() => {
  for (const each of servers.splice(0)) each.close()
})

/** An engine that answers each path with this status and body. */
async function engine(answers: Record<string, [number, unknown]>) {
  const server = createServer((request, response) => {
    const [status, body] = answers[request.url ?? ''] ?? [404, {}]
    response.writeHead(status).end(JSON.stringify(body))
  })
  servers.push(server.listen(0, '127.0.0.1'))
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return createEngine({ url: `http://127.0.0.1:${address.port}` })
}

test('an engine that is well answers, and names its apps', async () => {
  const apps = [{ name: 'onehop', url: null, connected: true, error: null }]
  const well = await engine({ '/health': [200, {}], '/v0/gql': [200, { data: { apps } }] })
  await well.health()
  expect(await well.apps()).toEqual(apps)
})

test('one that answers an error, or nothing, counts as one that cannot be reached', async () => {
  const sick = await engine({ '/health': [503, {}] })
  await expect(sick.health()).rejects.toMatchObject({ code: 'engine-unreachable', message: /503/ })
  const gone = createEngine({ url: 'http://127.0.0.1:1' })
  await expect(gone.health()).rejects.toMatchObject({ code: 'engine-unreachable' })
})

test('one without its GraphQL has no apps to name', async () => {
  expect(await (await engine({ '/v0/gql': [200, { data: null }] })).apps()).toEqual([])
})
