import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { findUpstreams } from '../../src/plan/caddyfile.ts'
import type { Snapshot } from '../../src/plan/snapshot.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (name: string) => readFileSync(`${root}examples/panda/${name}`, 'utf8')

let lines: string[]

beforeAll(async () => {
  // The permissions are the proof that it touches nothing: no write and no other program, so also no Caddy.
  const { stdout } = await execa(
    process.execPath,
    ['--permission', `--allow-fs-read=${root}`, '--disable-warning=ExperimentalWarning', 'examples/tour.ts'],
    { cwd: root, env: { NO_COLOR: '1' }, timeout: 20_000 },
  )
  lines = stdout.split('\n')
})

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

test("shows the edit of one Caddy route as a diff of one line, with Caddy's verdict", () => {
  const changed = lines.filter((line) => /^[+-](?![+-])/.test(line))
  expect(changed).toEqual([
    '-\treverse_proxy localhost:8288',
    '+\treverse_proxy inngest.tail7af24.ts.net:8288',
  ])
  expect(lines).toContain(
    'caddy adapt (recorded, Caddy 2.11.9): the difference is exactly 1 upstream. Nothing was changed.',
  )
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
  const snapshot: Snapshot = JSON.parse(read('snapshot.json'))
  expect(snapshot.policy).toBe(readFileSync(`${root}sandbox/seed/policy.hujson`, 'utf8'))
  expect(snapshot.caddy?.text).toBe(read('Caddyfile'))
  expect(snapshot.caddy?.running).toEqual(snapshot.caddy?.adapted)
  // The same upstream stands in a second site, which the edit leaves alone.
  expect(findUpstreams(read('Caddyfile'), { upstream: 'localhost:8288' })).toHaveLength(2)
  for (const file of ['snapshot.json', 'adapted-after.json', 'mesh.yaml', 'Caddyfile'])
    expect(read(file)).not.toMatch(/\/root\/|\/home\/|\/tmp\/|10\.8[89]\./)
})
