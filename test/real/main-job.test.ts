import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { proveFrom } from '../../sandbox/prove-from.ts'
import {
  caddyfile,
  engine,
  onehop,
  read,
  requestOf,
  runStatus,
  sendEvent,
  serviceDevices,
  serviceOwned,
  waitFor,
  world,
  writesByUs,
} from './panda.ts'

const objects = ['redis', 'qdrant', 'inngest-svc', 'livekit', 'pds', 'typesense']

describe('the main job: everything moved, nothing written twice, everything taken back', () => {
  const request = randomUUID()
  const before: { caddyfile: string; owned: unknown[] } = { caddyfile: '', owned: [] }

  beforeAll(async () => {
    before.caddyfile = read(caddyfile)
    before.owned = await Promise.all(objects.map(serviceOwned))
  })

  test('plan writes nothing and finds nothing in the way', async () => {
    const writes = writesByUs()
    const { envelope, exitCode } = await onehop('plan')
    expect(exitCode).toBe(0)
    expect(envelope.result).toMatchObject({ blocked: 0 })
    expect(writesByUs()).toEqual(writes)
  })

  test('one event moves every service, the engine itself last', async () => {
    await sendEvent(request, 'mesh/migration.requested', {})
    await waitFor(
      'the migration to end',
      () => !['running', undefined].includes(requestOf(request)?.state),
      200,
    )
    expect(requestOf(request)?.failure).toBeUndefined()
    expect(requestOf(request)?.state).toBe('completed')
    const { envelope } = await onehop('status')
    expect(envelope.result?.services?.map((each) => each.state)).toEqual(objects.map(() => 'moved'))
  })

  test('Prometheus is told so by the worker, and what it took', async () => {
    const { stdout } = await world.panda.run('curl', ['-sf', 'http://127.0.0.1:3111/metrics'])
    const lines = stdout.split('\n')
    expect(lines).toContain('onehop_engine_connected 1')
    for (const service of ['redis', 'qdrant', 'inngest', 'livekit', 'pds', 'typesense'])
      expect(lines).toContain(`onehop_service_phase{service="${service}",phase="moved"} 1`)
    expect(stdout).toMatch(
      /^onehop_requests_total\{event="mesh\/migration.requested",outcome="completed"\} [1-9]/m,
    )
    for (const path of ['port_map', 'old_url', 'device_name'])
      expect(stdout).toMatch(
        new RegExp(`^onehop_probe_duration_seconds_count\\{service="qdrant",path="${path}"\\} [1-9]`, 'm'),
      )
  })

  test('clanker-001 reaches by its own name, over WireGuard, every service that it may, and not redis', async () => {
    const urls = [
      'http://qdrant.tail7af24.ts.net:6333/instance',
      'http://inngest.tail7af24.ts.net:8288/health',
      'http://livekit.tail7af24.ts.net:7880/',
      'http://pds.tail7af24.ts.net:3000/',
      'http://typesense.tail7af24.ts.net:8108/',
    ]
    const answers = await proveFrom(world.clanker, urls)
    expect(answers.filter((each) => !each.ok)).toEqual([])
    // Redis is panda's alone: the policy keeps it from clanker-001, which the old path through panda could not.
    const [redis] = await proveFrom(world.clanker, ['redis://redis.tail7af24.ts.net:6379'])
    expect(redis?.ok).toBe(false)
  })

  test('the old URLs still answer, now over the device names', async () => {
    const urls = [
      'https://panda.tail7af24.ts.net:6443/instance',
      'https://panda.tail7af24.ts.net:9443/health',
      'https://panda.tail7af24.ts.net:7443/',
    ]
    expect((await proveFrom(world.clanker, urls)).filter((each) => !each.ok)).toEqual([])
    expect(read(caddyfile)).toContain('inngest.tail7af24.ts.net:8288')
    expect(read(caddyfile)).toContain('localhost:8288') // the Funnel server's fallback, which mesh.yaml does not name
  })

  test('the same event again, and a rerun by the engine, write nothing', async () => {
    const writes = writesByUs()
    await sendEvent(request, 'mesh/migration.requested', {})
    const { rerun } = await engine<{ rerun: string }>('mutation($id: ULID!) { rerun(runID: $id) }', {
      id: requestOf(request)?.run,
    })
    await waitFor('the rerun to end', async () => (await runStatus(rerun)) === 'COMPLETED')
    expect(writesByUs()).toEqual(writes)
  })

  test('a new request for what is moved already changes no Service and reloads no Caddy', async () => {
    const { cluster, caddy } = writesByUs()
    const { envelope } = await onehop('expose', 'typesense')
    expect(envelope.result?.services?.[0]?.state).toBe('moved')
    expect(writesByUs()).toMatchObject({ cluster, caddy })
  })

  test('with engine and worker stopped, rollback --local takes all of it back, byte by byte and owner by owner', async () => {
    await world.server('worker').stop()
    for (const service of ['typesense', 'redis', 'qdrant', 'livekit', 'pds', 'inngest']) {
      const { envelope } = await onehop('rollback', service, '--local')
      expect(envelope.result).toMatchObject({ service, state: 'restored' })
    }
    await world.server('worker').start()
    expect(read(caddyfile)).toBe(before.caddyfile)
    expect(await Promise.all(objects.map(serviceOwned))).toEqual(before.owned)
    expect(await serviceDevices()).toEqual([])
  })
})
