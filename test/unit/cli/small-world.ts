import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'

/**
 * Small real servers on loopback for all that a plan reads: the API server, the Tailscale API, Caddy's admin API, an
 * engine; and two programs, `tailscale` and `caddy`. They know one redis without a route and one web with one, both ready
 * for the move. `answers` is what each path answers, and may be changed; `sent` are the events that the engine was given.
 */
export async function startSmallWorld() {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-world-'))
  const sent: unknown[] = []
  const answers: Answers = {
    kubernetes: kubernetesAnswers(),
    tailscale: {
      '/api/v2/oauth/token': { access_token: 't', expires_in: 3600 },
      '/api/v2/tailnet/-/devices': { devices: [device('panda', []), device('tailscale-operator', [tag])] },
      '/api/v2/tailnet/-/acl': policy,
    },
    caddy: { '/config/': {} },
    engine: {},
  }
  const servers = {
    kubernetes: await listen(answering(answers.kubernetes)),
    tailscale: await listen(answering(answers.tailscale)),
    caddy: await listen(answering(answers.caddy)),
    engine: await listen((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        sent.push(JSON.parse(Buffer.concat(chunks).toString()))
        response.writeHead(200).end('{}')
      })
    }),
  }
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  const program = (name: string, script: string) => {
    write(name, `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  program('tailscale', `echo '{"Peer": {}}'`)
  program('caddy', `case "$1" in version) echo v2.11.9;; *) echo '{}';; esac`)
  write('Caddyfile', caddyfile)
  for (const name of ['id', 'secret']) write(name, name)
  write(
    'kubeconfig',
    stringify({
      clusters: [
        { name: 'c', cluster: { server: servers.kubernetes.url, 'insecure-skip-tls-verify': true } },
      ],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      users: [{ name: 'u', user: {} }],
    }),
  )
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const mesh = {
    kubernetes: { context: 'c', kubeconfig: 'kubeconfig' },
    tailnet: 'a.ts.net',
    tailscale: { api: servers.tailscale.url, cli: join(folder, 'tailscale'), credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile', admin: servers.caddy.url, bin: join(folder, 'caddy') },
    engine: { url: servers.engine.url, eventKeyFile: 'id' },
    state: 'state',
    services: {
      redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] },
      web: {
        service: 'apps/web',
        ports: [80],
        allow: ['panda'],
        routes: { 'https://panda.a.ts.net:444': 80 },
      },
    },
  }
  write('mesh.yaml', stringify(mesh))
  return {
    folder,
    mesh: join(folder, 'mesh.yaml'),
    answers,
    sent,
    /** From now on nothing listens on that server's port. */
    close: (name: keyof typeof servers) => servers[name].close(),
    async [Symbol.asyncDispose]() {
      await Promise.all(Object.values(servers).map((each) => each.close()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** By path: JSON, a text as it is, or a status alone. */
type Answers = Record<'kubernetes' | 'tailscale' | 'caddy' | 'engine', Record<string, unknown>>

const tag = 'tag:k8s-operator'
const caddyfile = 'https://panda.a.ts.net:444 {\n\treverse_proxy localhost:80\n}\n'
const policy = '{\n  // by hand\n  "tagOwners": {"tag:k8s-operator": []},\n  "grants": [],\n}\n'
const device = (hostname: string, tags: string[]) => ({
  ...{ nodeId: `id of ${hostname}`, name: `${hostname}.a.ts.net`, hostname, addresses: ['100.64.0.1'], tags },
  connectedToControl: true,
})
const labels = { 'app.kubernetes.io/managed-by': 'onehop' }

function kubernetesAnswers(): Record<string, unknown> {
  const list = (...items: unknown[]) => ({ apiVersion: 'v1', kind: 'List', metadata: {}, items })
  const service = (name: string, port: number) => ({
    metadata: { name, namespace: 'apps', uid: `uid of ${name}`, resourceVersion: '1' },
    spec: { type: 'NodePort', clusterIP: '10.96.0.7', ports: [{ name: '', port, nodePort: port }] },
  })
  const slice = (name: string) => ({
    metadata: { namespace: 'apps', labels: { 'kubernetes.io/service-name': name } },
    endpoints: [{ addresses: ['10.0.0.1'] }],
    ports: [{ name: '' }],
  })
  const privileged = { 'pod-security.kubernetes.io/enforce': 'privileged' }
  const deployment = {
    metadata: { name: 'operator', generation: 1 },
    spec: { template: { spec: { containers: [{ image: 'operator:v1.102.4' }] } } },
    status: { readyReplicas: 1, updatedReplicas: 1, observedGeneration: 1 },
  }
  return {
    '/api/v1/namespaces/kube-system': { metadata: { name: 'kube-system', uid: 'cluster-1' } },
    '/api/v1/namespaces': list({ metadata: { name: 'tailscale', labels: privileged } }),
    '/api/v1/services': list(service('redis', 6379), service('web', 80)),
    '/apis/discovery.k8s.io/v1/endpointslices': list(slice('redis'), slice('web')),
    '/api/v1/namespaces/tailscale/secrets': list(),
    '/api/v1/namespaces/tailscale/pods': list(),
    '/apis/apps/v1/namespaces/tailscale/statefulsets': list(),
    '/apis/apps/v1/namespaces/tailscale/deployments': list(deployment),
    '/api/v1/namespaces/tailscale/secrets/operator-oauth': { metadata: { name: 'operator-oauth', labels } },
    '/apis/tailscale.com/v1alpha1/proxyclasses/onehop': {
      metadata: { name: 'onehop' },
      status: { conditions: [{ type: 'ProxyClassReady', status: 'True' }] },
    },
  }
}

const answering =
  (answers: Record<string, unknown>): RequestListener =>
  (request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://localhost')
    const answer = answers[pathname] ?? 404
    const status = typeof answer === 'number' ? answer : 200
    response.writeHead(status, { 'content-type': 'application/json', etag: '"1"' })
    const body = status === 200 ? answer : { message: `status ${status} for ${pathname}` }
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

async function listen(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      if (!server.listening) return
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
