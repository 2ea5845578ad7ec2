import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Journal } from '../../../src/journal.ts'
import { selectServices } from '../../../src/plan/mesh.ts'
import { createSetup, type Setup } from '../../../src/setup.ts'
import { noteEvidence, type Probed } from '../../../src/steps/note-evidence.ts'
import { createStep, type Step } from '../../../src/steps/step.ts'
import {
  type Ask,
  askVantages,
  awaitVantages,
  beginEvidence,
  stepsOfVantages,
} from '../../../src/steps/vantages.ts'
import type { Sent } from '../../../src/systems/engine.ts'

let folder: string
let setup: Setup
let journal: Journal

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-vantages-'))
  writeFileSync(join(folder, 'mesh.yaml'), meshText)
  setup = createSetup(join(folder, 'mesh.yaml'))
  journal = await setup.journal()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const meshText = `
kubernetes: { context: none }
tailnet: a.ts.net
machine: panda
tailscale: { credentials: { clientIdFile: id, clientSecretFile: secret } }
operator: { version: 1.102.4, credentials: { clientIdFile: id, clientSecretFile: secret } }
caddy: { file: Caddyfile }
engine: { url: http://localhost:1 }
state: state
soak: { seconds: 5, every: 1 }
services:
  qdrant: { service: apps/qdrant, ports: [6333, 6334], proveFrom: [panda, clanker-001] }
  redis: { service: apps/redis, ports: [6379], proveFrom: [clanker-001] }
`
const start = { request: 'r', run: 'run', cluster: 'uid', tailnet: 'a.ts.net' }

async function begun(name: string): Promise<Ask[]> {
  const mesh = await setup.mesh()
  const [service] = selectServices(mesh, [name])
  const { attempt } = await journal.begin(name, start)
  return service ? beginEvidence({ mesh, journal }, service, attempt) : []
}

const answers = (ports: number[], ok = true) =>
  ports.map((port) => ({ port, ok, ms: 4, ...(!ok && { message: 'timed\u001b[2J out' }) }))

const seenBy = ({ service, attempt, vantage, ask }: Ask, more: Partial<Probed> = {}): Probed => ({
  ...{ service, attempt, vantage, ask },
  ...{ answers: answers(service === 'redis' ? [6379] : [6333, 6334]), direct: 1, relayed: 0 },
  ...more,
})

/** Steps of which the events are given to `hear`; sleeps are not slept. */
function stepHeardBy(hear: (ask: Ask) => Promise<unknown>) {
  const sent: Sent[] = []
  const step = createStep(
    {
      run: (_, work) => work(),
      sleep: async () => {},
      async sendEvent(_, events) {
        for (const event of [events].flat()) {
          sent.push(event)
          await hear(event.data as Ask)
        }
      },
    },
    (_phase, _options, work) => work(),
  )
  return { step, sent }
}

const wait = (step: Step, asks: Ask[], seconds = 0.3) =>
  awaitVantages(
    step,
    { setup, request: 'r' },
    { wave: 'w', attempts: asks.map(({ service: name, attempt }) => ({ name, attempt })), asks, seconds },
  )

describe('evidence of another machine', () => {
  test('is kept for the attempt that asked, with the worker’s own times', async () => {
    const [ask] = await begun('qdrant')
    if (!ask) throw new Error('nobody is asked')
    expect(await noteEvidence(setup, seenBy(ask))).toEqual({ noted: true })
    const { evidence } = (await journal.read('qdrant')) ?? {}
    expect(evidence).toMatchObject({
      attempt: 1,
      paths: [
        { vantage: 'clanker-001', path: 'device name', probes: 2, failures: 0, p50: 4, p99: 4, direct: 1 },
      ],
    })
    expect(evidence?.paths[0]?.from).toBe(evidence?.ask?.at)
  })

  test.each([
    ['of an earlier attempt', { attempt: 7 }, /attempt/],
    ['with another word', { ask: 'guessed' }, /not asked so/],
    ['of a machine that is not asked', { vantage: 'laptop' }, /does not ask laptop/],
    ['of this machine itself', { vantage: 'panda' }, /does not ask panda/],
  ] as const)('is not kept: %s', async (_, more, why) => {
    const [ask] = await begun('qdrant')
    if (!ask) throw new Error('nobody is asked')
    const noted = await noteEvidence(setup, seenBy(ask, more))
    expect(noted).toEqual({ noted: false, why: expect.stringMatching(why) })
    expect((await journal.read('qdrant'))?.evidence?.paths).toEqual([])
  })

  test('is not kept twice, nor after a rollback', async () => {
    const [ask] = await begun('qdrant')
    if (!ask) throw new Error('nobody is asked')
    await noteEvidence(setup, seenBy(ask))
    expect(await noteEvidence(setup, seenBy(ask, { answers: [] }))).toMatchObject({ noted: false })
    await journal.beginRollback('qdrant', { request: 'undo', run: 'u' })
    expect(await noteEvidence(setup, seenBy(ask))).toMatchObject({ noted: false })
  })

  test('a port that it did not ask is not proven', async () => {
    const [ask] = await begun('qdrant')
    if (!ask) throw new Error('nobody is asked')
    await noteEvidence(setup, seenBy(ask, { answers: answers([6333]) }))
    expect((await journal.read('qdrant'))?.evidence?.paths[0]).toMatchObject({
      failures: 1,
      message: expect.stringContaining('qdrant.a.ts.net:6334 was not asked'),
    })
  })

  test('the next attempt begins without any', async () => {
    const [ask] = await begun('qdrant')
    if (!ask) throw new Error('nobody is asked')
    await noteEvidence(setup, seenBy(ask))
    await journal.end('qdrant', ask.attempt, { state: 'restored' })
    const [next] = await begun('qdrant')
    expect(next?.ask).not.toBe(ask.ask)
    expect((await journal.read('qdrant'))?.evidence?.paths).toEqual([])
  })
})

describe('a service with another vantage', () => {
  test('is moved once its evidence came', async () => {
    const asks = await begun('qdrant')
    const { step, sent } = stepHeardBy((ask) => noteEvidence(setup, seenBy(ask)))
    await askVantages(step, asks, { wave: 'w', request: 'r', round: 1 })
    expect(await wait(step, asks)).toEqual([{ name: 'qdrant', attempt: 1 }])
    expect(sent).toMatchObject([
      { name: 'mesh/path.probe.requested', data: { vantage: 'clanker-001', rounds: 5, every: 1 } },
    ])
  })

  test('is asked for again until a machine that was away is back', async () => {
    const asks = await begun('qdrant')
    let heard = 0
    const { step, sent } = stepHeardBy(async (ask) => ++heard > 1 && noteEvidence(setup, seenBy(ask)))
    await askVantages(step, asks, { wave: 'w', request: 'r', round: 1 })
    expect((await wait(step, asks, 15))[0]).not.toHaveProperty('failure')
    expect(new Set(sent.map((each) => each.id)).size).toBe(2)
  })

  test('none by the deadline is a failed proof of that service alone', async () => {
    const asks = [...(await begun('qdrant')), ...(await begun('redis'))]
    const { step } = stepHeardBy(async (ask) => ask.service === 'redis' && noteEvidence(setup, seenBy(ask)))
    await askVantages(step, asks, { wave: 'w', request: 'r', round: 1 })
    expect(await wait(step, asks)).toMatchObject([
      { name: 'qdrant', failure: { code: 'vantage-silent', kind: 'proof' } },
      { name: 'redis', attempt: 1 },
    ])
  })

  test('that it cannot use there fails at once, in words that a terminal can show', async () => {
    const asks = await begun('redis')
    const { step } = stepHeardBy((ask) =>
      noteEvidence(setup, seenBy(ask, { answers: answers([6379], false) })),
    )
    await askVantages(step, asks, { wave: 'w', request: 'r', round: 1 })
    const [redis] = await wait(step, asks, 60)
    expect(redis?.failure).toMatchObject({ code: 'vantage-failed', kind: 'proof' })
    expect(redis?.failure?.message).toContain('redis.a.ts.net:6379 timed [2J out')
  })

  test('that somebody rolls back is waited for no longer', async () => {
    const asks = await begun('redis')
    await journal.beginRollback('redis', { request: 'undo', run: 'u' })
    const { step } = stepHeardBy(async () => {})
    expect((await wait(step, asks, 60))[0]?.failure?.code).toBe('attempt-superseded')
  })
})

test.each([1, 45, 120, 600, 3600])(
  'a wait of %d s takes no more steps than were counted',
  async (seconds) => {
    const asks = await begun('redis')
    let steps = 0
    const silent: Step = {
      async run<T>() {
        steps++
        return { ok: true as const, value: { open: asks, failures: {} } as T }
      },
      async sleep() {
        steps++
      },
      async sendEvent() {
        steps++
      },
    }
    await askVantages(silent, asks, { wave: 'w', request: 'r', round: 1 })
    await wait(silent, asks, seconds)
    expect(steps).toBeLessThanOrEqual(stepsOfVantages(seconds))
    expect(stepsOfVantages(seconds)).toBeLessThan(50)
  },
)
