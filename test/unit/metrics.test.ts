import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { driftRecord } from '../../src/drift-record.ts'
import { openJournal } from '../../src/journal.ts'
import { states } from '../../src/journal-records.ts'
import { createMetrics, type EngineLink } from '../../src/metrics.ts'
import type { Drift } from '../../src/plan/drift-kinds.ts'
import { createOnehopApp } from '../../src/server.ts'
import { createSetup } from '../../src/setup.ts'
import { version } from '../../src/version.ts'

/** A state folder with a mesh.yaml of two services beside it. */
async function make() {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-metrics-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const meshFile = join(folder, 'mesh.yaml')
  writeFileSync(meshFile, mesh)
  const journal = await openJournal(join(folder, 'state'))
  const link: EngineLink = { connected: () => undefined }
  const metrics = createMetrics(createSetup(meshFile), link)
  return {
    folder,
    meshFile,
    journal,
    link,
    metrics,
    scrape: async () => parse((await metrics.scrape()).text),
  }
}

const mesh = `kubernetes: { context: none }
tailnet: a.ts.net
tailscale: { credentials: { clientIdFile: id, clientSecretFile: secret } }
operator: { version: 1.102.4, credentials: { clientIdFile: id, clientSecretFile: secret } }
caddy: { file: Caddyfile }
engine: { url: http://127.0.0.1:1 }
state: state
services:
  redis: { service: apps/redis, ports: [6379] }
  qdrant: { service: apps/qdrant, ports: [6333] }
`

/** Prometheus' text format: type by name, and value by name with labels. */
function parse(text: string) {
  const types: Record<string, string> = {}
  const values: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const [, name = '', type = ''] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
    if (name) types[name] = type
    else if (line !== '' && !line.startsWith('#')) {
      const [, key = '', value] = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? []
      expect(key, `cannot read ${line}`).not.toBe('')
      values[key] = Number(value)
    }
  }
  return { types, values }
}

const start = { cluster: 'c', tailnet: 'a.ts.net', request: 'r1', run: 'run1' }
const event = 'mesh/migration.requested'

describe('of the services', () => {
  test('each is in exactly one phase, that of the journal', async () => {
    const { journal, scrape } = await make()
    const phases = async (service: string) => {
      const { values } = await scrape()
      const all = ['planned', ...states].map((phase) => [
        phase,
        values[`onehop_service_phase{service="${service}",phase="${phase}"}`],
      ])
      expect(all.map(([, value]) => value).sort()).toEqual([...states.map(() => 0), 1])
      return all.find(([, value]) => value === 1)?.[0]
    }
    expect(await phases('redis')).toBe('planned')
    const { attempt } = await journal.begin('redis', start)
    expect(await phases('redis')).toBe('exposing')
    await journal.end('redis', attempt, { state: 'moved' })
    expect([await phases('redis'), await phases('qdrant')]).toEqual(['moved', 'planned'])
    expect((await scrape()).values).toMatchObject({ 'onehop_service_fell_back{service="redis"}': 0 })
  })

  test('a service that fell back says so, and one that left mesh.yaml is no longer told of', async () => {
    const { journal, scrape, meshFile } = await make()
    const { attempt } = await journal.begin('redis', start)
    await journal.end('redis', attempt, { state: 'moved' })
    const failure = { code: 'device-fell-silent', kind: 'proof', message: 'm', fix: 'f' } as const
    await journal.fallBack('redis', attempt, failure, async () => undefined)
    expect((await scrape()).values).toMatchObject({ 'onehop_service_fell_back{service="redis"}': 1 })
    writeFileSync(meshFile, mesh.replace(/ {2}redis:.*\n/, ''))
    expect(Object.keys((await scrape()).values).filter((key) => key.includes('"redis"'))).toEqual([])
  })

  test('probes are counted by path, and only those that answered have a time', async () => {
    const { metrics, scrape } = await make()
    const target = { host: 'redis.a.ts.net', port: 6379 }
    const failed = { ok: false, ms: 2000, refused: false, message: 'no answer' } as const
    metrics.see({
      service: 'redis',
      paths: {
        'port map': [{ target, answer: { ok: true, ms: 3 } }],
        'old URL': [],
        'device name': [
          { target, answer: { ok: true, ms: 40 } },
          { target, answer: failed },
        ],
      },
    })
    const { values } = await scrape()
    expect(values).toMatchObject({
      'onehop_probes_total{service="redis",path="port_map",outcome="answered"}': 1,
      'onehop_probes_total{service="redis",path="device_name",outcome="answered"}': 1,
      'onehop_probes_total{service="redis",path="device_name",outcome="failed"}': 1,
      'onehop_probe_duration_seconds_count{service="redis",path="device_name"}': 1,
      'onehop_probe_duration_seconds_sum{service="redis",path="device_name"}': 0.04,
      'onehop_probe_duration_seconds_bucket{le="0.025",service="redis",path="device_name"}': 0,
      'onehop_probe_duration_seconds_bucket{le="0.05",service="redis",path="device_name"}': 1,
    })
  })
})

test('of drift, what stood at the last look, and nothing once it is over', async () => {
  const { journal, scrape } = await make()
  const told = async () =>
    Object.keys((await scrape()).values).filter((key) => key.startsWith('onehop_drift'))
  expect(await told()).toEqual([])
  // Before the first look there is no file, and that is no fault.
  expect((await scrape()).values).toMatchObject({ 'onehop_state_readable{part="journal"}': 1 })
  const drift: Drift = {
    kind: 'no-endpoints',
    subject: 'redis',
    severity: 'critical',
    what: 'Service apps/redis has no ready endpoint for port 6379',
    cure: 'kubectl get pods',
  }
  await driftRecord(journal).note({ drifts: [drift], unread: [], unseen: [] })
  expect(await told()).toEqual(['onehop_drift{kind="no-endpoints",subject="redis",severity="critical"}'])
  await driftRecord(journal).note({ drifts: [], unread: [], unseen: [] })
  expect(await told()).toEqual([])
})

describe('of the requests', () => {
  const total = (outcome: string, of = event) => `onehop_requests_total{event="${of}",outcome="${outcome}"}`
  const running = `onehop_requests_in_progress{event="${event}"}`

  test('what ended is counted from the journal: a worker that starts anew goes on counting', async () => {
    const { journal, scrape, meshFile } = await make()
    await journal.beginRequest({ id: 'r1', event, data: {}, run: 'run1' }, 60)
    expect((await scrape()).values).toMatchObject({ [running]: 1 })
    await journal.endRequest('r1', 'run1', { state: 'completed' })
    const first = (await scrape()).values
    expect(first).toMatchObject({ [running]: 0, [total('completed')]: 1 })
    const restarted = createMetrics(createSetup(meshFile), { connected: () => undefined })
    expect(parse((await restarted.scrape()).text).values).toEqual(first)
  })

  test('nothing that is counted becomes less when a request is run again', async () => {
    const { journal, scrape } = await make()
    const counts = async () => {
      const { values } = await scrape()
      return Object.entries(values).filter(([key]) => /_total|_count|_bucket|_sum/.test(key))
    }
    const request = { id: 'r1', event, data: {} }
    const seen = [await counts()]
    await journal.refuseRequest({
      ...request,
      run: 'run0',
      failure: { code: 'event-invalid', kind: 'input', message: 'm', fix: 'f' },
    })
    for (const [run, state] of [
      ['run1', 'failed'],
      ['run2', 'failed'],
      ['run3', 'completed'],
    ] as const) {
      await journal.beginRequest({ ...request, run }, 60)
      seen.push(await counts())
      await journal.endRequest('r1', run, { state })
      seen.push(await counts())
    }
    for (const [index, later] of seen.entries())
      for (const [key, value] of seen[index - 1] ?? [])
        expect(new Map(later).get(key), key).toBeGreaterThanOrEqual(value)
    expect(new Map(seen.at(-1))).toEqual(
      new Map([...(seen.at(-1) ?? []), [total('refused'), 1], [total('failed'), 2], [total('completed'), 1]]),
    )
  })

  test('a record of 0.1.0 counts as the one run that it tells of', async () => {
    const { folder, scrape } = await make()
    const record = {
      id: 'old',
      event,
      run: 'run1',
      state: 'completed',
      updatedAt: '2026-11-20T10:00:40.000Z',
    }
    const write = (more: object) =>
      writeFileSync(join(folder, 'state/requests/old.json'), JSON.stringify({ ...record, ...more }))
    write({ startedAt: '2026-11-20T10:00:00.000Z' })
    const duration = `onehop_request_duration_seconds_sum{event="${event}",outcome="completed"}`
    expect((await scrape()).values).toMatchObject({ [total('completed')]: 1, [duration]: 40 })
    write({})
    expect((await scrape()).values).toMatchObject({ [total('completed')]: 1 })
    expect((await scrape()).values[duration]).toBeUndefined()
  })

  test('an event that is none of ours makes no label of its own', async () => {
    const { journal, scrape } = await make()
    for (const each of ['a', 'b']) {
      await journal.beginRequest({ id: each, event: `mesh/${each}`, data: {}, run: each }, 60)
      await journal.endRequest(each, each, { state: 'failed' })
    }
    expect((await scrape()).values).toMatchObject({ [total('failed', 'other')]: 2 })
  })
})

describe('of the worker itself', () => {
  test('what runs, and whether the engine has it, once that is known', async () => {
    const { link, scrape } = await make()
    const runtime = `onehop_build_info{version="${version}",runtime="node",runtime_version="${process.versions.node}"}`
    expect((await scrape()).values).toMatchObject({ [runtime]: 1 })
    expect((await scrape()).values).not.toHaveProperty('onehop_engine_connected')
    for (const connected of [true, false]) {
      link.connected = () => connected
      expect((await scrape()).values).toMatchObject({ onehop_engine_connected: Number(connected) })
    }
  })

  test('a part that cannot be read is said to be, and the others are told all the same', async () => {
    const { journal, scrape, meshFile, folder } = await make()
    const { attempt } = await journal.begin('redis', start)
    await journal.end('redis', attempt, { state: 'moved' })
    writeFileSync(join(folder, 'state/requests/torn.json'), '{')
    const torn = (await scrape()).values
    expect(torn).toMatchObject({
      'onehop_state_readable{part="mesh"}': 1,
      'onehop_state_readable{part="journal"}': 0,
      'onehop_service_phase{service="redis",phase="moved"}': 1,
    })
    writeFileSync(meshFile, 'services: [')
    expect((await scrape()).values).toMatchObject({ 'onehop_state_readable{part="mesh"}': 0 })
  })

  test('two scrapes at once are both whole', async () => {
    const { journal, scrape } = await make()
    await journal.beginRequest({ id: 'r1', event, data: {}, run: 'run1' }, 60)
    await journal.endRequest('r1', 'run1', { state: 'completed' })
    const [alone, ...together] = [await scrape(), ...(await Promise.all([scrape(), scrape(), scrape()]))]
    for (const each of together) expect(each).toEqual(alone)
  })
})

test('two apps in one process have a registry each, and answer where they are mounted', async () => {
  const [one, two] = [await make(), await make()]
  await one.journal.begin('redis', start)
  const apps = await Promise.all([one, two].map(({ meshFile }) => createOnehopApp({ meshFile })))
  const app = new Hono()
  for (const [index, each] of apps.entries()) app.route(`/onehop${index}`, each.app)
  const phase = 'onehop_service_phase{service="redis",phase="exposing"}'
  const found = await Promise.all(
    [0, 1].map(async (index) => {
      const answer = await app.request(`/onehop${index}/metrics`)
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
      return parse(await answer.text()).values[phase]
    }),
  )
  expect(found).toEqual([1, 0])
})

test("names are Prometheus': of one prefix, base units, and _total on counters alone", async () => {
  const { types } = await (await make()).scrape()
  for (const [name, type] of Object.entries(types)) {
    expect(name).toMatch(/^onehop_[a-z_]+$/)
    expect(name.endsWith('_total')).toBe(type === 'counter')
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
  }
})

test('docs/metrics.md has a row for each metric, with its type and labels, and none for any other', async () => {
  const { metrics } = await make()
  const told = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8')
  const rows = [...told.matchAll(/^\| `(\w+)` +\| (\w+) +\| (.*?) +\|/gm)].map(
    ([, name, type, labels = '']) => ({
      ...{ name, type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label) },
    }),
  )
  const known = metrics.registry.getMetricsAsArray().map((each) => {
    const { name, type, labelNames } = each as unknown as { name: string; type: string; labelNames: string[] }
    return { name, type, labels: labelNames }
  })
  const sorted = (all: Array<{ name?: string | undefined }>) =>
    all.toSorted((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1))
  expect(sorted(rows)).toEqual(sorted(known))
})

test('the version that is told is that of the package', () => {
  const { version: packaged } = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'),
  )
  expect(version).toBe(packaged)
})
