import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'jsonc-parser'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { openJournal } from '../../../src/journal.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { addAccess, removeAccess } from '../../../src/plan/policy.ts'
import { wantedAccess } from '../../../src/plan/policy-access.ts'
import { wideOpen } from '../../../src/plan/policy-wide-open.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import {
  confirmPolicy,
  narrowPolicy,
  takeBackUnconfirmed,
  widenPolicy,
} from '../../../src/steps/narrow-policy.ts'

const original = `// ours since 2021
{
  "tagOwners": {"tag:k8s-operator": []},
  "grants": [
    {"src": ["*"], "dst": ["*"], "ip": ["*"]}, // the default
  ],
}
`
const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
const mesh = parseMesh(
  JSON.stringify({
    kubernetes: { context: 'admin@talos' },
    tailnet: 'a.ts.net',
    machine: 'panda',
    tailscale: { credentials },
    operator: { version: '1.102.4', credentials },
    caddy: { file: 'Caddyfile' },
    engine: { url: 'http://127.0.0.1:1' },
    services: {
      redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] },
      qdrant: { service: 'apps/qdrant', ports: [6333], allow: ['panda', 'clanker-001'] },
    },
  }),
  'mesh.yaml',
)
const device = (name: string, last: number, tags: string[] = []) => ({
  name: `${name}.a.ts.net`,
  addresses: [`100.64.0.${last}`],
  tags,
})
const machines = [device('panda', 1), device('clanker-001', 2)]
const devices = [...machines, device('redis', 3, ['tag:svc-redis'])]
const start = Date.parse('2026-11-23T10:00:00Z')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-narrow-'))
  vi.useFakeTimers({ toFake: ['Date'], now: start })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})
const minutesLater = (minutes: number) => vi.setSystemTime(start + minutes * 60_000)

function accessOfRedis() {
  const [redis] = mesh.services
  const access = redis && 'service' in redis ? wantedAccess(mesh, redis, devices) : undefined
  if (!access) throw new Error('redis has an allow')
  return access
}

/** A tailnet that runs the policy's tests, as far as that a denial fails beside a rule from `*` to `*`. `loses` the next answer. */
async function tailnet(joined = machines) {
  const world = { text: original, version: 1, writes: 0, loses: false, refuses: false }
  const tailscale = {
    devices: async () => joined,
    policy: async () => ({ text: world.text, etag: `"${world.version}"` }),
    setPolicy: async ({ text, etag }: { text: string; etag: string }) => {
      if (etag !== `"${world.version}"`) throw new OnehopError('policy-stale')
      const denied = parse(text).tests?.some((each: { deny?: unknown }) => each.deny)
      if (world.refuses || (denied && wideOpen(text).length > 0))
        throw new OnehopError('policy-test-failed', { message: 'test(s) failed', data: '[]' })
      Object.assign(world, { text, version: world.version + 1, writes: world.writes + 1 })
      if (!world.loses) return
      world.loses = false
      throw new OnehopError('tailscale-unreachable', { url: 'u', message: 'reset' })
    },
  }
  const journal = await openJournal(folder)
  const work = { mesh, journal, systems: { tailscale } } as unknown as Work
  const setup: Setup = { mesh: async () => mesh, journal: async () => journal, work: async () => work }
  return { world, work, setup, journal }
}

test("today's devices keep reaching each other, by rule and by test, and the service is left to its own rules", async () => {
  const { world, work } = await tailnet(devices)
  const moved = addAccess(original, accessOfRedis())
  world.text = moved.text
  const { until, added } = await narrowPolicy(work, 'a')
  expect(until).toBe('2026-11-23T10:10:00.000Z')
  expect(parse(world.text).grants).toContainEqual({
    ...{ src: ['panda'], dst: ['tag:svc-redis'], ip: ['tcp:6379'] },
  })
  const { grants, tests, hosts } = parse(removeAccess(world.text, moved.added).text)
  expect(added.filter(({ was }) => was)).toHaveLength(1)
  expect(grants).toEqual([{ src: ['panda', 'clanker-001'], dst: ['panda', 'clanker-001'], ip: ['*'] }])
  expect(tests).toEqual([
    { src: 'panda', accept: ['clanker-001:22'] },
    { src: 'clanker-001', accept: ['panda:22'] },
  ])
  expect(hosts).toEqual({ panda: '100.64.0.1', 'clanker-001': '100.64.0.2' })
})

test('a service whose rule the policy does not hold yet is reached as before', async () => {
  const { world, work } = await tailnet(devices)
  const { added } = await narrowPolicy(work, 'a')
  const names = ['panda', 'clanker-001', 'tag:svc-redis']
  expect(parse(world.text).grants).toEqual([{ src: names, dst: names, ip: ['*'] }])
  expect(removeAccess(world.text, added).text).toBe(original)
})

test('unconfirmed, it is taken back after ten minutes by whichever worker runs then, and not before', async () => {
  const { world, work, setup } = await tailnet()
  await narrowPolicy(work, 'a')
  const narrowed = world.text
  minutesLater(9.9)
  expect(await takeBackUnconfirmed(setup)).toBe(false)
  expect(world.text).toBe(narrowed)
  minutesLater(10)
  const restarted = { ...setup, journal: () => openJournal(folder) }
  expect(await takeBackUnconfirmed(restarted)).toBe(true)
  expect(world.text).toBe(original)
  expect(await takeBackUnconfirmed(restarted)).toBe(false)
  await expect(confirmPolicy(work)).rejects.toMatchObject({ code: 'policy-not-confirmed' })
})

test('a confirmation that comes too late is refused, though nobody has taken it back yet', async () => {
  const { work } = await tailnet()
  await narrowPolicy(work, 'a')
  minutesLater(11)
  await expect(confirmPolicy(work)).rejects.toMatchObject({ code: 'policy-not-confirmed' })
})

test('confirmed, it stays until it is widened', async () => {
  const { world, work, setup } = await tailnet()
  await narrowPolicy(work, 'a')
  await confirmPolicy(work)
  minutesLater(60)
  expect(await takeBackUnconfirmed(setup)).toBe(false)
  expect(wideOpen(world.text)).toEqual([])
  await expect(narrowPolicy(work, 'b')).rejects.toMatchObject({ code: 'policy-narrowed-already' })
  await widenPolicy(work)
  expect(world.text).toBe(original)
  await expect(widenPolicy(work)).rejects.toMatchObject({ code: 'policy-not-narrowed' })
})

test('a write whose answer was lost is found again by its own request, and taken back all the same', async () => {
  const { world, work, setup } = await tailnet()
  world.loses = true
  await expect(narrowPolicy(work, 'a')).rejects.toMatchObject({ code: 'tailscale-unreachable' })
  await expect(narrowPolicy(work, 'b')).rejects.toMatchObject({ code: 'policy-narrowed-already' })
  expect(await narrowPolicy(work, 'a')).toMatchObject({ state: 'unconfirmed' })
  expect(world.writes).toBe(1)
  minutesLater(10)
  await takeBackUnconfirmed(setup)
  expect(world.text).toBe(original)
})

test('what the tailnet refuses is no narrowing, and may be asked for again', async () => {
  const { world, work, setup } = await tailnet()
  world.refuses = true
  await expect(narrowPolicy(work, 'a')).rejects.toMatchObject({ code: 'policy-test-failed' })
  expect(world.text).toBe(original)
  minutesLater(10)
  expect(await takeBackUnconfirmed(setup)).toBe(false)
  world.refuses = false
  expect(await narrowPolicy(work, 'b')).toMatchObject({ state: 'unconfirmed', request: 'b' })
})

test('a policy without such a rule is left alone', async () => {
  const { world, work, journal } = await tailnet()
  world.text = '{\n  "grants": [],\n}\n'
  await expect(narrowPolicy(work, 'a')).rejects.toMatchObject({ code: 'policy-not-wide-open' })
  expect(world.writes).toBe(0)
  expect(await journal.readNarrowing()).toBeUndefined()
})

describe('the edits of others stay, but what they made of our rule', () => {
  const edit = (text: string) =>
    `// mine\n${text}`.replace('"dst": ["panda", "clanker-001"]', '"dst": ["panda"]')

  test('is shown to who asks, and goes only by force', async () => {
    const { world, work } = await tailnet()
    await narrowPolicy(work, 'a')
    const changed = edit(world.text)
    world.text = changed
    await expect(widenPolicy(work)).rejects.toMatchObject({ code: 'policy-changed-by-others' })
    expect(world.text).toBe(changed)
    await widenPolicy(work, { force: true })
    expect(world.text).toBe(`// mine\n${original}`)
  })

  test('goes once it is overdue: who is locked out can force nothing', async () => {
    const { world, work, setup } = await tailnet()
    await narrowPolicy(work, 'a')
    world.text = edit(world.text)
    minutesLater(10)
    expect(await takeBackUnconfirmed(setup)).toBe(true)
    expect(world.text).toBe(`// mine\n${original}`)
  })

  test('is written anew where it has lost its mark', async () => {
    const { world, work, setup, journal } = await tailnet()
    await narrowPolicy(work, 'a')
    const unmarked = world.text.replaceAll(/,? \/\* onehop: \* \*\//g, ',').replaceAll(',,', ',')
    world.text = unmarked
    await expect(widenPolicy(work)).rejects.toMatchObject({ code: 'policy-still-narrow' })
    expect(world.text).toBe(unmarked)
    expect(await journal.readNarrowing()).toMatchObject({ state: 'unconfirmed' })
    minutesLater(10)
    expect(await takeBackUnconfirmed(setup)).toBe(true)
    expect(wideOpen(world.text)).toMatchObject([{ rule: '{"src": ["*"], "dst": ["*"], "ip": ["*"]}' }])
    expect(parse(world.text).grants).toHaveLength(2)
    expect(await journal.readNarrowing()).toMatchObject({ state: 'widened' })
  })

  test('an alias of ours that leads elsewhere now stays while their rules name it', async () => {
    const { world, work, setup } = await tailnet()
    await narrowPolicy(work, 'a')
    world.text = world.text
      .replace('"panda": "100.64.0.1"', '"panda": "100.64.0.7"')
      .replace('"grants": [', '"grants": [\n    {"src": ["panda"], "dst": ["tag:x"], "ip": ["*"]},')
    minutesLater(10)
    expect(await takeBackUnconfirmed(setup)).toBe(true)
    expect(parse(world.text).hosts).toEqual({ panda: '100.64.0.7' })
    expect(wideOpen(world.text)).toHaveLength(1)
  })
})

test('denials of a service that moved meanwhile go with it, and its own undo still leads to the first bytes', async () => {
  const { world, work } = await tailnet()
  await narrowPolicy(work, 'a')
  const moved = addAccess(world.text, accessOfRedis())
  expect(parse(moved.text).tests).toContainEqual({ src: 'clanker-001', deny: ['tag:svc-redis:6379'] })
  world.text = moved.text
  await widenPolicy(work)
  expect(wideOpen(world.text)).toHaveLength(1)
  expect(parse(world.text).tests).toEqual([{ src: 'panda', accept: ['tag:svc-redis:6379'] }])
  expect(removeAccess(world.text, moved.added).text).toBe(original)
})
