import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { adaptCaddyfile } from '../../../simulated/adapt-caddyfile.ts'
import { findUpstreams } from '../../../src/plan/caddyfile.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { planMesh } from '../../../src/plan/plan.ts'
import { renderPlan } from '../../../src/plan/render-plan.ts'
import type { Snapshot } from '../../../src/plan/snapshot.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const read = (name: string) => readFileSync(`${root}examples/panda/${name}`, 'utf8')

const snapshot: Snapshot = JSON.parse(read('snapshot.json'))
const plan = planMesh(parseMesh(read('mesh.yaml'), 'examples/panda/mesh.yaml'), snapshot)
const lines = stripVTControlCharacters(renderPlan(plan)).split('\n')

test('shows the whole plan, the engine last and the worker kept', () => {
  const services = lines.filter((line) => /^\w+ {2}(planned|kept)$/.test(line))
  expect(services).toEqual([
    'redis  planned',
    'qdrant  planned',
    'livekit  planned',
    'pds  planned',
    'typesense  planned',
    'inngest  planned',
    'worker  kept',
  ])
  expect(lines).toContain('53 changes, each with its undo; 0 of 6 services blocked. Nothing was touched.')
  expect(lines.filter((line) => /^ {2}[+~-] /.test(line))).toHaveLength(53)
  expect(lines.filter((line) => /^ {6}undo: \S/.test(line))).toHaveLength(53)
  expect(lines).toContain(
    '    https://panda.tail7af24.ts.net:9443 -> http://inngest.tail7af24.ts.net:8288  (the old URL keeps its TLS; the device name has none)',
  )
  expect(lines).toContain('    localhost:9627 -> http://pds.tail7af24.ts.net:3000')
})

test('shows each entry of the policy as it would be written into it', () => {
  const policy = lines.filter((line) => line.startsWith('  + policy, '))
  expect(policy).toHaveLength(27)
  expect(policy).toContain(
    '  + policy, grants: {"src": ["panda"], "dst": ["tag:svc-redis"], "ip": ["tcp:6379"]}',
  )
  expect(policy).toContain('  + policy, tagOwners: "tag:svc-pds": ["tag:k8s-operator"]')
})

test('the recording is of the Caddyfile and the policy that are shown, and names no other machine', () => {
  expect(snapshot.policy).toBe(readFileSync(`${root}sandbox/seed/policy.hujson`, 'utf8'))
  expect(snapshot.caddy?.text).toBe(read('Caddyfile'))
  expect(snapshot.caddy?.running).toEqual(snapshot.caddy?.adapted)
  // The same upstream stands in a second site, which the edit leaves alone.
  expect(findUpstreams(read('Caddyfile'), { upstream: 'localhost:8288' })).toHaveLength(2)
  for (const file of ['snapshot.json', 'mesh.yaml', 'Caddyfile'])
    expect(read(file)).not.toMatch(/\/root\/|\/home\/|\/tmp\/|10\.8[89]\./)
})

test('the simulated Caddy makes of that Caddyfile what the real one has made of it', () => {
  expect(adaptCaddyfile(read('Caddyfile'), { HOME: '/Users/joel' })).toEqual(snapshot.caddy?.adapted)
})
