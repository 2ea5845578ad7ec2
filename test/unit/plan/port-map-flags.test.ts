import { expect, test } from 'vitest'
import type { Entry } from '../../../src/journal-records.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { portMapFlags, portMapsOf } from '../../../src/plan/port-map-flags.ts'

const pds = { service: 'pds', portMap: 9627, nodePort: 3000, retired: false }
const redis = { service: 'redis', portMap: 6379, nodePort: 6379, retired: true }
const rtc = { service: 'livekit', portMap: 7882, nodePort: 7882, protocol: 'udp' as const, retired: false }

test('the next cluster is given the port maps of services that are not retired, host port first', () => {
  expect(portMapFlags([pds, redis, rtc])).toEqual({
    needed: [
      { service: 'pds', map: '9627:3000/tcp' },
      { service: 'livekit', map: '7882:7882/udp' },
    ],
    dropped: [{ service: 'redis', map: '6379:6379/tcp' }],
    flags: ['--exposed-ports', '9627:3000/tcp,7882:7882/udp'],
    covers: 'mesh.yaml',
    command: 'talosctl cluster create docker --exposed-ports 9627:3000/tcp,7882:7882/udp',
  })
})

test('what else the nodes publish stays, save what talosctl publishes itself', () => {
  const map = (hostPort: number, containerPort: number, hostAddress = '0.0.0.0') => ({
    ...{ hostAddress, hostPort, containerPort, protocol: 'tcp' },
  })
  const maps = [map(9627, 3000), map(6379, 6379), map(3838, 30838), map(3838, 30838, '::')]
  const apis = [map(50123, 50000, '127.0.0.1'), map(6443, 6443, '127.0.0.1')]
  const node = { name: 'talos', isNode: true, maps: [...maps, ...apis, map(9000, 30900, '127.0.0.1')] }
  const other = { name: 'web', isNode: false, maps: [map(8080, 80)] }
  expect(portMapFlags([pds, redis], [node, other])).toMatchObject({
    needed: [
      { service: 'pds', map: '9627:3000/tcp' },
      { map: '3838:30838/tcp' },
      { map: '127.0.0.1:9000:30900/tcp' },
    ],
    dropped: [{ service: 'redis', map: '6379:6379/tcp' }],
    covers: 'Docker',
  })
  expect(portMapFlags([pds], [other])).toMatchObject({ needed: [{ service: 'pds' }], covers: 'mesh.yaml' })
})

test('without any, there is no flag', () => {
  expect(portMapFlags([redis])).toMatchObject({
    needed: [],
    flags: [],
    command: 'talosctl cluster create docker',
  })
})

test('the node port is that of the cluster; of what is retired, the one that stood there before', () => {
  const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
  const mesh = parseMesh(
    JSON.stringify({
      kubernetes: { context: 'c' },
      tailnet: 'a.ts.net',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://localhost:8288' },
      services: {
        redis: { service: 'apps/redis', ports: [6379] },
        qdrant: { service: 'apps/qdrant', ports: [6333, { port: 6334, portMap: 16334, nodePort: 31000 }] },
        pds: { service: 'apps/pds', ports: [{ port: 3000, portMap: 9627 }] },
        docs: { service: 'apps/docs', ports: [8080], oldPath: 'none' },
      },
    }),
    'mesh.yaml',
  )
  const before = { ports: [{ name: '', port: 6379, protocol: 'TCP', nodePort: 30379 }] }
  const retired: Entry = {
    ...{ version: 1, service: 'redis', attempt: 2, state: 'retired', request: 'r', run: 'r', cluster: 'c' },
    ...{ tailnet: 'a.ts.net', ended: {}, changes: [{ id: 'type', before, target: {}, undone: false }] },
  }
  const there = { redis: [{ port: 6379 }], qdrant: [{ port: 6333, nodePort: 30333 }] }
  const kept = { ...retired, service: 'pds', changes: [] }
  expect(portMapsOf(mesh, [retired, kept], there)).toEqual([
    { service: 'redis', portMap: 6379, nodePort: 30379, retired: true },
    { service: 'qdrant', portMap: 6333, nodePort: 30333, retired: false },
    { service: 'qdrant', portMap: 16334, nodePort: 31000, retired: false },
    { service: 'pds', portMap: 9627, nodePort: 3000, retired: false },
  ])
})
