import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'

/** Where each system is. What is not named is not there: its port refuses, its program is missing. */
export type Places = {
  api?: string
  /** The user of the kubeconfig. */
  user?: unknown
  /** The kubeconfig, if not a file beside mesh.yaml. */
  kubeconfig?: string
  tailscale?: string
  caddy?: string
  engine?: string
  worker?: string
  serveOrigin?: string
  /** Files that are FIFOs which nobody writes to. */
  fifos?: string[]
  service?: Record<string, unknown>
}

const nowhere = 'http://127.0.0.1:1'

/** mesh.yaml of one redis that is moved, with all that it names, in a folder of its own. */
export function createSilentWorld(places: Places) {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-silent-'))
  const at = (file: string) => join(folder, file)
  const { api = nowhere, user = {}, engine = nowhere, serveOrigin } = places
  const cluster = { server: api, 'insecure-skip-tls-verify': true }
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const files: Record<string, string> = {
    kubeconfig: stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'k', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'k',
    }),
    id: 'id\n',
    secret: 'secret\n',
    Caddyfile: 'http://redis.panda {\n\treverse_proxy localhost:6379\n}\n',
    'mesh.yaml': stringify({
      kubernetes: { context: 'k', kubeconfig: 'kubeconfig' },
      tailnet: 'a.ts.net',
      tailscale: { api: places.tailscale ?? nowhere, credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile', admin: places.caddy ?? nowhere },
      engine: { url: engine, ...(serveOrigin !== undefined && { serveOrigin }) },
      worker: { listen: places.worker ?? '127.0.0.1:1' },
      state: 'state',
      services: { redis: { service: 'apps/redis', ports: [6379], ...places.service } },
    }),
    'state/services/redis.json': JSON.stringify(movedEntry),
  }
  mkdirSync(at('state/services'), { recursive: true })
  for (const [file, text] of Object.entries(files))
    if (places.fifos?.includes(file)) execFileSync('mkfifo', [at(file)])
    else writeFileSync(at(file), text)
  return {
    folder,
    at,
    mesh: ['--mesh', at('mesh.yaml')],
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

const exposure = (value: unknown) => ({
  namespace: 'apps',
  name: 'redis',
  uid: 'uid-1',
  annotations: { 'tailscale.com/expose': value },
})

const movedEntry = {
  version: 1,
  service: 'redis',
  attempt: 1,
  state: 'moved',
  request: 'request-1',
  run: 'run-1',
  cluster: 'cluster-1',
  tailnet: 'a.ts.net',
  changes: [
    {
      id: 'expose',
      before: exposure(null),
      target: exposure({ value: 'true', manager: 'onehop' }),
      uid: 'uid-1',
      undone: false,
    },
  ],
  ended: {},
}
