import { writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proveFrom } from '../../sandbox/prove-from.ts'
import { meshFile, onehop, read, waitFor, world } from './panda.ts'
import { policy, setPolicy } from './tailnet-policy.ts'
import { engineBack, scaleEngine } from './under-way.ts'

// Who reaches what, by real connections: two clients, six services, each of their ports.
const ports = {
  redis: ['redis:6379'],
  qdrant: ['qdrant:6333', 'qdrant:6334'],
  inngest: ['inngest:8288', 'inngest:8289'],
  livekit: ['livekit:7880', 'livekit:7881'],
  pds: ['pds:3000'],
  typesense: ['typesense:8108'],
}
const services = Object.keys(ports)
const all = Object.values(ports).flat()
const clients = { panda: world.panda, 'clanker-001': world.clanker }
/** As mesh.yaml says: redis is panda's alone. */
const allowed = { panda: all, 'clanker-001': all.filter((each) => each !== 'redis:6379') }

const reachable = async (client: keyof typeof clients) => {
  const answers = await proveFrom(
    clients[client],
    all.map((each) => `tcp://${each.replace(':', '.tail7af24.ts.net:')}`),
  )
  return all.filter((_, index) => answers[index]?.ok)
}
const matrix = async () => ({
  panda: await reachable('panda'),
  'clanker-001': await reachable('clanker-001'),
})

let before: string
beforeAll(async () => {
  await onehop('operator', 'install')
  before = await policy()
})

describe('least access', () => {
  test('before the move: no device name answers anybody, and the plan says what the policy will be given', async () => {
    expect(await matrix()).toEqual({ panda: [], 'clanker-001': [] })
    const { envelope } = await onehop('plan')
    const text = JSON.stringify(envelope.result)
    expect(text).toContain('tag:svc-redis')
    expect(await policy()).toBe(before)
  })

  test('during the move, in the soak of the first wave: its services answer whom they may, and the engine nobody yet', async () => {
    const running = onehop('migrate', ...services, '--yes')
    await waitFor(
      'the soak',
      async () => {
        const { envelope } = await onehop('status')
        const { requests } = envelope.result as unknown as { requests: Array<{ phase?: string }> }
        return requests.some((each) => each.phase?.startsWith('wave 1/soak'))
      },
      120,
    )
    const early = (list: string[]) => list.filter((each) => !each.startsWith('inngest'))
    expect(await matrix()).toEqual({
      panda: early(allowed.panda),
      'clanker-001': early(allowed['clanker-001']),
    })
    expect((await running).envelope.error).toBeNull()
  })

  test('after the move: exactly what mesh.yaml allows', async () => {
    expect(await matrix()).toEqual(allowed)
  })

  test('a person who edits the policy meanwhile keeps the edit; what is ours is taken out with the last rollback', async () => {
    await setPolicy(`// mine\n${await policy()}`)
    expect((await onehop('rollback', ...services.slice(1))).envelope.error).toBeNull()
    expect(await policy()).toMatch(/onehop: redis/)
    const { envelope } = await onehop('rollback', 'redis')
    expect(envelope.result).toMatchObject({ service: 'redis', state: 'restored' })
    expect(await policy()).toBe(`// mine\n${before}`)
    expect(await matrix()).toEqual({ panda: [], 'clanker-001': [] })
    await setPolicy(before)
  })
})

// The policy of most tailnets lets everything reach everything, so that no rule narrows anything.
describe('a rule from * to *', () => {
  const wide = '    {"src": ["*"], "dst": ["*"], "ip": ["*"]}, // the default\n'
  const redis = 'tcp://redis.tail7af24.ts.net:6379'
  const front = 'tcp://panda.tail7af24.ts.net:9443'
  const seen = async (client: keyof typeof clients) =>
    (await proveFrom(clients[client], [redis, front])).map((each) => each.ok)
  /** A new policy takes a moment on its way to the machines. */
  const sees = (client: keyof typeof clients, wanted: boolean[]) =>
    waitFor(`${client} to see ${wanted}`, async () => isDeepStrictEqual(await seen(client), wanted))
  const stateOf = async () => {
    const { envelope } = await onehop('status')
    return (envelope.result as unknown as { policy: { state: string } | null }).policy?.state
  }
  let saved: string

  beforeAll(async () => {
    saved = read(meshFile)
    writeFileSync(meshFile, saved.replace('device: 45', 'device: 45, confirm: 15'))
    await setPolicy(before.replace('"grants": [\n', (line) => line + wide))
    expect((await onehop('expose', 'redis')).envelope.error).toBeNull()
  })
  afterAll(async () => {
    await onehop('policy', 'widen')
    await onehop('rollback', 'redis', '--local')
    await setPolicy(before)
    writeFileSync(meshFile, saved)
  })

  test('makes allow meaningless: the plan warns, and nothing is blocked', async () => {
    expect(await seen('clanker-001')).toEqual([true, true])
    expect(JSON.stringify((await onehop('plan')).envelope.result)).toMatch(/lets everything reach everything/)
  })

  test('gives way on request to the pairs of today; unconfirmed it comes back, with the worker restarted and the engine gone', async () => {
    const asItWas = await policy()
    const { envelope } = await onehop('policy', 'narrow')
    expect(envelope.error).toBeNull()
    await sees('clanker-001', [false, true])
    await sees('panda', [true, true])
    await scaleEngine(0)
    await world.server('worker').kill()
    await world.server('worker').start()
    await waitFor('the old rule', async () => (await stateOf()) === 'widened')
    expect(await policy()).toBe(asItWas)
    await sees('clanker-001', [true, true])
    await scaleEngine(1)
    await engineBack()
  })

  test('confirmed it stays away, until all is rolled back', async () => {
    expect((await onehop('policy', 'narrow')).envelope.error).toBeNull()
    expect((await onehop('policy', 'confirm')).envelope.error).toBeNull()
    expect(await stateOf()).toBe('confirmed')
    expect((await onehop('rollback', '--all')).envelope.error).toBeNull()
    expect(await policy()).toBe(before.replace('"grants": [\n', (line) => line + wide))
  })
})
