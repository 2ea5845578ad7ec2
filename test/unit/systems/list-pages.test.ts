import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createKubernetes } from '../../../src/systems/kubernetes.ts'

const many = Array.from({ length: 1200 }, (_, index) => ({
  metadata: { namespace: 'apps', name: `s${index}`, uid: `u${index}` },
  spec: { type: 'NodePort', ports: [{ port: 80 }] },
}))

/** An API server that gives out as many objects as it is asked for, and may forget how to go on. */
async function paging({ expires = false, all = many as object[] } = {}) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://a').searchParams
    const [limit, from] = [Number(query.get('limit') ?? all.length), Number(query.get('continue') ?? 0)]
    asked.push(`${query.get('limit') ?? 'all'} from ${from}`)
    const send = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (expires && from > 500) return send(410, { kind: 'Status', code: 410, message: 'too old' })
    const next = from + limit < all.length ? { continue: String(from + limit) } : {}
    send(200, {
      kind: 'ServiceList',
      apiVersion: 'v1',
      metadata: next,
      items: all.slice(from, from + limit),
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const folder = mkdtempSync(join(tmpdir(), 'onehop-pages-'))
  const kubeconfig = join(folder, 'config')
  const { port } = server.address() as AddressInfo
  const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true }
  const contexts = [{ name: 'c', context: { cluster: 'c', user: 'u' } }]
  const users = [{ name: 'u', user: {} }]
  writeFileSync(kubeconfig, JSON.stringify({ clusters: [{ name: 'c', cluster }], users, contexts }))
  return {
    kubernetes: createKubernetes({ context: 'c', kubeconfig }),
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      rmSync(folder, { recursive: true })
    },
  }
}

const names = Array.from({ length: 1200 }, (_, index) => `s${index}`)

test('a list comes in pages, each once, and whole', async () => {
  await using api = await paging()
  expect((await api.kubernetes.services()).map((each) => each.name)).toEqual(names)
  expect(api.asked).toEqual(['500 from 0', '500 from 500', '500 from 1000'])
})

test('a list whose next page has expired is asked for anew as a whole, and nothing stands there twice', async () => {
  await using api = await paging({ expires: true })
  expect((await api.kubernetes.services()).map((each) => each.name)).toEqual(names)
  expect(api.asked).toEqual(['500 from 0', '500 from 500', '500 from 1000', 'all from 0'])
})

test('what the API server gives as null is empty', async () => {
  const slice = (name: string, more: object) => ({
    metadata: { namespace: 'apps', name, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ...more,
  })
  await using api = await paging({
    all: [
      slice('gone', { endpoints: null, ports: null }),
      slice('bare', { endpoints: [{ addresses: ['10.0.0.1'], conditions: {} }], ports: null }),
      slice('ready', { endpoints: [{ addresses: ['10.0.0.1'] }], ports: [{ name: 'http', port: 80 }] }),
    ],
  })
  expect(await api.kubernetes.readyPorts()).toEqual({ 'apps/bare': [], 'apps/ready': ['http'] })
})
