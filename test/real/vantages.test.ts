import { cpSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onehopProgram, startProber } from '../../sandbox/worker.ts'
import type { PathEvidence } from '../../src/plan/evidence.ts'
import { entryOf, meshFile, onehop, read, sendEvent, waitFor, world } from './panda.ts'
import { whole } from './under-way.ts'

// qdrant and redis are asked to be proven from clanker-001 too; the policy that follows from `allow` keeps it out of redis.
const saved = `${meshFile}.one-vantage`
let before: Awaited<ReturnType<typeof whole>>

beforeAll(async () => {
  await onehop('operator', 'install')
  await onehop('rollback', 'qdrant', '--local')
  await onehop('rollback', 'redis', '--local')
  before = await whole()
  cpSync(meshFile, saved)
  const proveFrom = '    proveFrom: [panda, clanker-001]\n'
  writeFileSync(
    meshFile,
    `machine: panda\n${read(meshFile)}`
      .replace('deadlines: { device: 45 }', 'deadlines: { device: 45, proof: 20 }')
      .replace('failures: 1 }', 'failures: 1, p99: 3000 }')
      .replace('    service: joelclaw/redis\n', (line) => line + proveFrom)
      .replace('    service: joelclaw/qdrant\n', (line) => line + proveFrom),
  )
  await startProber(world)
})
afterAll(async () => {
  await world.server('prober').stop()
  await onehop('rollback', 'qdrant', '--local')
  await onehop('rollback', 'redis', '--local')
  cpSync(saved, meshFile)
})

const rows = (paths: PathEvidence[] = []) => paths.map(({ vantage, path }) => `${vantage}: ${path}`).sort()

test('a service is moved with the evidence of both machines, each path with its figures', async () => {
  const { envelope } = await onehop('expose', 'qdrant')
  expect(envelope.error).toBeNull()
  const entry = entryOf('qdrant')
  expect(entry).toMatchObject({ state: 'moved', evidence: { attempt: entry?.attempt } })
  const paths = entry?.evidence?.paths ?? []
  expect(rows(paths)).toEqual([
    'clanker-001: device name',
    'panda: device name',
    'panda: old URL',
    'panda: port map',
  ])
  for (const each of paths) {
    expect(each.probes).toBeGreaterThan(0)
    expect(each.p99).toBeGreaterThanOrEqual(each.p50 ?? Number.NaN)
  }
  for (const each of paths.filter(({ path }) => path === 'device name'))
    expect((each.direct ?? 0) + (each.relayed ?? 0)).toBeGreaterThan(0)
  const { services } = (await onehop('status')).envelope.result as unknown as {
    services: Array<{ name: string; evidence?: { attempt: number; paths: PathEvidence[] } }>
  }
  expect(services.find((each) => each.name === 'qdrant')?.evidence).toEqual({
    attempt: entry?.attempt,
    paths,
  })
})

test('evidence that nobody asked for changes nothing', async () => {
  const entry = entryOf('qdrant')
  await sendEvent(crypto.randomUUID(), 'mesh/path.probed', {
    ...{ service: 'qdrant', attempt: entry?.attempt, vantage: 'clanker-001', ask: 'guessed' },
    ...{ answers: [], direct: 0, relayed: 0, failure: 'made up' },
  })
  await onehop('expose', 'redis')
  expect(entryOf('qdrant')?.evidence).toEqual(entry?.evidence)
})

test('where the policy keeps a vantage out, the service is put back, and the reason names it', async () => {
  const redis = entryOf('redis')
  expect(redis).toMatchObject({ state: 'restored', failure: { code: 'vantage-failed' } })
  expect(redis?.failure?.message).toContain('clanker-001')
  expect(redis?.evidence?.paths.find((each) => each.vantage === 'clanker-001')?.failures).toBeGreaterThan(0)
})

test('with --once, a person sees the same from there', async () => {
  const [node = '', ...program] = onehopProgram
  const { stdout, exitCode } = await world.clanker.run(
    node,
    [...program, 'probe', '--as', 'clanker-001', '--once', '--json'],
    { reject: false },
  )
  const { result, error } = JSON.parse(stdout) as {
    result: { services: Array<{ service: string; failures: number }> }
    error: { code: string } | null
  }
  expect(result.services.map(({ service, failures }) => [service, failures > 0])).toEqual([
    ['redis', true],
    ['qdrant', false],
  ])
  expect([error?.code, exitCode]).toEqual(['vantage-failed', 1])
})

test('with the prober stopped, no evidence by the deadline is a failed proof', async () => {
  await onehop('rollback', 'qdrant')
  await world.server('prober').stop()
  const { envelope, exitCode } = await onehop('expose', 'qdrant')
  expect(envelope.result?.services).toMatchObject([
    { name: 'qdrant', state: 'restored', failure: { code: 'vantage-silent' } },
  ])
  expect(exitCode).toBe(3)
  expect(await whole()).toEqual(before)
  expect(rows(entryOf('qdrant')?.evidence?.paths)).toEqual([
    'panda: device name',
    'panda: old URL',
    'panda: port map',
  ])
})

test('one that comes back while it is waited for counts', async () => {
  const running = onehop('expose', 'qdrant')
  await waitFor(
    'the soak',
    () => {
      const { attempt, evidence } = entryOf('qdrant') ?? {}
      return evidence?.attempt === attempt && (evidence?.paths.length ?? 0) > 0
    },
    120,
  )
  await world.server('prober').start()
  expect((await running).envelope.error).toBeNull()
  expect(rows(entryOf('qdrant')?.evidence?.paths)).toContain('clanker-001: device name')
})
