import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { type Journal, openJournal } from '../../../src/journal.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import type { Setup } from '../../../src/setup.ts'
import { soakWave } from '../../../src/steps/soak.ts'
import type { Answer } from '../../../src/systems/probes.ts'
import type { Systems } from '../../../src/systems/systems.ts'
import { localStep } from '../local-step.ts'

let folder: string
let journal: Journal

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-soak-'))
  journal = await openJournal(folder)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const meshWith = (soak: object) =>
  parseMesh(
    stringify({
      kubernetes: { context: 'none' },
      tailnet: 'a.ts.net',
      machine: 'panda',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://localhost:1' },
      soak: { seconds: 0.2, every: 0.05, ...soak },
      services: {
        redis: { service: 'apps/redis', ports: [6379], routes: { 'https://a.net:1': 6379 } },
        qdrant: { service: 'apps/qdrant', ports: [6333] },
      },
    }),
    'mesh.yaml',
  )

const answered = (ms: number): Answer => ({ ok: true, ms })
const refused: Answer = { ok: false, ms: 1, message: 'refused', refused: true }

async function soak(soaking: object, tcp: (host: string) => Answer, seen: Setup['seen'] = () => undefined) {
  const mesh = meshWith(soaking)
  const systems = {
    probes: {
      tcp: async ({ host }: { host: string }) => tcp(host),
      throughCaddy: async () => answered(9),
    },
    tailscale: {
      peers: async () => ({ 'redis.a.ts.net': { addresses: [], reachable: true, direct: false } }),
    },
  } as unknown as Systems
  const setup: Setup = {
    mesh: async () => mesh,
    journal: async () => journal,
    work: async () => ({ mesh, journal, systems }),
    seen,
  }
  const of = { request: 'r', run: 'run' }
  for (const name of ['redis', 'qdrant'])
    await journal.begin(name, { ...of, cluster: 'uid', tailnet: 'a.ts.net' })
  const attempts = ['redis', 'qdrant'].map((name) => ({ name, attempt: 1 }))
  return soakWave(localStep, { setup, ...of }, { wave: 'wave 1', attempts })
}

test('what was seen of every path is in the journal, for the attempt', async () => {
  const soaked = await soak({}, (host) => answered(host === 'localhost' ? 1 : 20))
  expect(soaked).toEqual([
    { name: 'redis', attempt: 1 },
    { name: 'qdrant', attempt: 1 },
  ])
  const redis = (await journal.read('redis'))?.evidence
  expect(redis?.attempt).toBe(1)
  expect(redis?.paths.map(({ path, p50, failures }) => [path, p50, failures])).toEqual([
    ['port map', 1, 0],
    ['old URL', 9, 0],
    ['device name', 20, 0],
  ])
  const device = redis?.paths.at(-1)
  expect(device).toMatchObject({ vantage: 'panda', direct: 0, relayed: device?.probes })
  const qdrant = (await journal.read('qdrant'))?.evidence
  expect(qdrant?.paths.map((each) => each.path)).toEqual(['port map', 'device name'])
  expect(qdrant?.paths[1]).not.toHaveProperty('direct')
})

test('who fails more than allowed fails alone', async () => {
  // It ends with the second failure; the seconds are only for a machine that is slow to come to it.
  const soaked = await soak({ failures: 1, seconds: 10 }, (host) =>
    host === 'qdrant.a.ts.net' ? refused : answered(1),
  )
  expect(soaked).toMatchObject([{ name: 'redis' }, { name: 'qdrant', failure: { code: 'soak-failed' } }])
  expect(soaked[0]).not.toHaveProperty('failure')
})

test('who is slower than allowed fails alone, with the figures', async () => {
  const soaked = await soak({ p99: 50 }, (host) => answered(host === 'qdrant.a.ts.net' ? 80 : 10))
  expect(soaked[0]).not.toHaveProperty('failure')
  expect(soaked[1]?.failure).toMatchObject({ code: 'soak-slow', kind: 'proof' })
  expect(soaked[1]?.failure?.message).toContain('p99 80 ms where 50 ms are allowed')
})

test('every probe is told on, by service and path, for the metrics of the worker', async () => {
  const told = new Map<string, number>()
  await soak(
    {},
    (host) => answered(host === 'localhost' ? 1 : 20),
    ({ service, paths }) => {
      for (const [path, probed] of Object.entries(paths))
        for (const { answer } of probed) told.set(`${service}, ${path}`, answer.ms)
    },
  )
  expect(Object.fromEntries(told)).toEqual({
    'redis, port map': 1,
    'redis, old URL': 9,
    'redis, device name': 20,
    'qdrant, port map': 1,
    'qdrant, device name': 20,
  })
})
