import { join } from 'node:path'
import { type Mesh, parseMesh } from '../../src/plan/mesh.ts'

/** mesh.yaml of one redis, as it would stand in that folder; all four credentials are its file `credential`. */
export function smallMesh(folder: string): Mesh {
  const credentials = { clientIdFile: 'credential', clientSecretFile: 'credential' }
  const wanted = {
    kubernetes: { context: 'admin@talos' },
    tailnet: 'a.ts.net',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile' },
    engine: { url: 'http://127.0.0.1:1' },
    services: { redis: { service: 'apps/redis', ports: [6379] } },
  }
  return parseMesh(JSON.stringify(wanted), join(folder, 'mesh.yaml'))
}
