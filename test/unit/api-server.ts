import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'

type Listed = { metadata: { name: string; namespace?: string } }

/** An API server that only lists, keeps to the limit it is given, and writes down what it was asked; with a kubeconfig for it. */
export async function startApiServer({
  services = [],
  nodes = [],
}: {
  services?: Listed[]
  nodes?: Listed[]
}) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
    asked.push(`${request.method} ${pathname} ${searchParams}`)
    const namespace = /namespaces\/([\w-]+)\//.exec(pathname)?.[1]
    const all = pathname.endsWith('/nodes')
      ? nodes
      : services.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
    const from = Number(searchParams.get('continue') ?? 0)
    const to = from + Number(searchParams.get('limit') ?? all.length)
    const metadata = to < all.length ? { continue: String(to) } : {}
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ apiVersion: 'v1', metadata, items: all.slice(from, to) }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const folder = mkdtempSync(join(tmpdir(), 'onehop-api-'))
  const kubeconfig = join(folder, 'config')
  const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true }
  writeFileSync(
    kubeconfig,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'admin@talos', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'admin@talos',
    }),
  )
  return {
    folder,
    kubeconfig,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      rmSync(folder, { recursive: true })
    },
  }
}
