import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { describe, expect, test, vi } from 'vitest'
import { migrate } from '../../../src/cli/migrate.ts'
import { answer, type Envelope } from '../../../src/cli/output.ts'
import { plan } from '../../../src/cli/plan.ts'
import type { Plan, PlannedChange } from '../../../src/plan/plan.ts'
import type { Part } from '../../../src/plan/snapshot.ts'
import { startSmallWorld } from './small-world.ts'

type World = Awaited<ReturnType<typeof startSmallWorld>>
type Result = Plan & { changes: number; blocked: number; hash: string | null }
const program = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
const onehop = (world: World, ...args: string[]) =>
  execa(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args, '--mesh', world.mesh], {
    reject: false,
    env: { NO_COLOR: '1' },
  })
const changesOf = ({ operator, services }: Plan): PlannedChange[] => [
  ...operator.changes,
  ...services.flatMap((each) => each.changes),
]

/** What keeps each part from being read, by a server that closes, refuses, fails, or answers something else. */
const unread: Array<[what: string, parts: Part[], spoil: (world: World) => unknown]> = [
  ['no API server on its port', ['cluster'], (world) => world.close('kubernetes')],
  ['RBAC that refuses one list', ['cluster'], deny('kubernetes', '/api/v1/services', 403)],
  [
    'RBAC that refuses Secrets in one namespace',
    ['cluster'],
    deny('kubernetes', '/api/v1/namespaces/tailscale/secrets', 403),
  ],
  ['another server than an API server', ['cluster'], deny('kubernetes', '/api/v1/services', {})],
  ['a cluster without an id', ['cluster'], deny('kubernetes', '/api/v1/namespaces/kube-system', {})],
  ['no Tailscale API', ['tailnet', 'policy'], (world) => world.close('tailscale')],
  ['a Tailscale API that fails', ['tailnet', 'policy'], deny('tailscale', '/api/v2/oauth/token', 500)],
  ['a client that may not read devices', ['tailnet'], deny('tailscale', '/api/v2/tailnet/-/devices', 403)],
  ['a client that may not read the policy', ['policy'], deny('tailscale', '/api/v2/tailnet/-/acl', 403)],
  ['a policy that cannot be parsed', ['policy'], deny('tailscale', '/api/v2/tailnet/-/acl', '{"grants": [')],
  ['no tailscaled', ['tailscaled'], (world) => brokenProgram(world, 'tailscale')],
  ["no Caddy's admin API", ['caddy'], (world) => world.close('caddy')],
  ['another server than Caddy', ['caddy'], deny('caddy', '/config/', 404)],
  ['no program caddy', ['caddy'], (world) => brokenProgram(world, 'caddy')],
]

function deny(server: keyof World['answers'], path: string, answered: unknown) {
  return (world: World) => Object.assign(world.answers[server], { [path]: answered })
}
const brokenProgram = ({ folder }: World, name: string) =>
  writeFileSync(join(folder, name), '#!/bin/sh\nexit 1\n')

/** Which parts a service hangs on: redis has no route, so that Caddy has no say in it. */
const needed: Record<string, Part[]> = {
  redis: ['cluster', 'tailnet', 'policy'],
  web: ['cluster', 'tailnet', 'policy', 'caddy'],
}
/** A host alias in the policy needs the address of its machine. */
const madeOf: Partial<Record<Part, Part[]>> = { policy: ['tailnet', 'policy'] }

describe('with a part of the world unread, no change of it is planned, and the plan is refused', () => {
  test.for(unread)('%s', async ([, parts, spoil]) => {
    await using world = await startSmallWorld()
    const whole = (await plan({ mesh: world.mesh, services: [] })).result as Result
    expect(new Set(changesOf(whole).map((each) => each.part))).toEqual(
      new Set(['policy', 'cluster', 'caddy']),
    )
    await spoil(world)
    const out = join(world.folder, 'plan.json')
    const made = await plan({ mesh: world.mesh, services: [], out, detailedExitcode: true })
    const found = made.result as Result
    expect(made.failure).toMatchObject({ code: 'plan-unread', kind: 'refused' })
    expect(made.exit).toBeUndefined()
    expect(made.next).toEqual(['onehop check', 'onehop plan'])
    expect(found).toMatchObject({ hash: null, blocked: 2, unread: parts })
    expect(found.problems.flatMap((each) => (each as { parts?: Part[] }).parts)).toEqual(
      expect.arrayContaining(parts),
    )
    expect(existsSync(out)).toBe(false)
    expect(made.text).toMatch(/^Blocked: fix these first\n {2}x .*\n {6}fix: .+/)
    // What was read is planned as in the whole world, and nothing else.
    const isRead = ({ part }: PlannedChange) =>
      (madeOf[part] ?? [part]).every((each) => !parts.includes(each))
    expect(changesOf(found)).toEqual(changesOf(whole).filter(isRead))
    for (const service of found.services) {
      const missing = (needed[service.name] ?? []).filter((part) => parts.includes(part))
      expect(service).toMatchObject({
        unread: missing,
        state: missing.length > 0 ? 'unknown' : 'planned',
        problems: [],
      })
    }
    expect(found.operator.work).toBe(parts.includes('cluster') ? 'unknown' : 'none')
  })
})

test('by the command, an incomplete plan is no success, says first what to fix, and keeps what was read', async () => {
  await using world = await startSmallWorld()
  await world.close('kubernetes')
  const json = await onehop(world, 'plan', '--json')
  const envelope = JSON.parse(json.stdout) as Envelope & { result: Result }
  expect({ exitCode: json.exitCode, ok: envelope.ok, code: envelope.error?.code }).toEqual({
    ...{ exitCode: 1, ok: false, code: 'plan-unread' },
  })
  expect(envelope.error?.message).toBe('this plan is incomplete: the cluster could not be read')
  expect(envelope.result.problems).toMatchObject([
    { code: 'kubernetes-unreachable', fix: 'kubectl --context c get nodes' },
  ])
  expect(envelope.result.changes).toBeGreaterThan(0)
  const { stdout, stderr, exitCode } = await onehop(world, 'plan', 'redis')
  expect(exitCode).toBe(1)
  expect(stdout).toMatch(/^Blocked: fix these first\n {2}x the cluster of context c does not answer: /)
  expect(stdout).toContain('redis  unknown')
  expect(stdout).not.toMatch(/Service apps|operator\n/)
  expect(stdout).toMatch(/next:\n {2}onehop check redis\n {2}onehop plan redis\s*$/)
  expect(stderr).toContain('[plan-unread]\n  fix: ')
})

test('all that could not be read is named at once', async () => {
  await using world = await startSmallWorld()
  await Promise.all([world.close('kubernetes'), world.close('tailscale'), world.close('caddy')])
  brokenProgram(world, 'tailscale')
  brokenProgram(world, 'caddy')
  const { result, text, failure } = await plan({ mesh: world.mesh, services: [] })
  const { problems, changes } = result as Result
  expect(problems.map(({ code }) => code)).toEqual([
    ...['kubernetes-unreachable', 'tailscale-unreachable', 'tailscaled-unreachable'],
    ...['caddy-missing', 'caddy-unreachable'],
  ])
  expect(changes).toBe(0)
  expect(text).toMatch(
    /^unknown, because the cluster, the devices of the tailnet, .* could not be read: redis$/m,
  )
  expect(failure?.message).toMatch(/: the cluster, .*, and Caddy could not be read$/)
})

describe('a complete plan that is blocked', () => {
  const bare = { metadata: {}, items: [] }
  const unready = deny('kubernetes', '/apis/discovery.k8s.io/v1/endpointslices', bare)

  test('is a success with its blockers before any change, and an error only where that was asked', async () => {
    await using world = await startSmallWorld()
    unready(world)
    const { stdout, exitCode } = await onehop(world, 'plan')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(
      /^Blocked: fix these first\n {2}x redis: Service apps\/redis has no ready endpoint .*\n {6}fix: .*\n {2}x web: /,
    )
    expect(stdout.indexOf('endpoints-not-ready')).toBeLessThan(stdout.indexOf('  + '))
    expect(stdout).toContain('\nredis  planned, blocked: endpoints-not-ready\n')
    const asked = await plan({ mesh: world.mesh, services: [], detailedExitcode: true })
    expect(asked).toMatchObject({
      result: { blocked: 2, unread: [], hash: expect.any(String) },
      failure: { code: 'plan-blocked', message: '2 of 2 services cannot be moved as things are' },
    })
  })

  test('of one service leaves the other to be moved, and names it', async () => {
    await using world = await startSmallWorld()
    deny('kubernetes', '/api/v1/services', {
      items: [
        {
          metadata: { name: 'redis', namespace: 'apps', uid: 'u' },
          spec: { clusterIP: '10.0.0.1', ports: [{ port: 6379 }] },
        },
      ],
    })(world)
    const { result, next } = await plan({ mesh: world.mesh, services: [] })
    const [, web] = (result as Result).services
    expect(web?.problems.map(({ code }) => code)).toEqual(['service-missing'])
    // Nothing can be written onto a Service that is not there.
    expect(web?.changes.filter(({ part }) => part === 'cluster')).toEqual([])
    expect(next).toEqual(['onehop check', 'onehop plan', 'onehop migrate redis'])
  })
})

test('an entry of the policy that two services need is planned once, with the first that moves', async () => {
  await using world = await startSmallWorld()
  const hosts = async (...services: string[]) =>
    ((await plan({ mesh: world.mesh, services })).result as Result).services.flatMap(({ name, changes }) =>
      changes.filter(({ what }) => what.startsWith('policy, hosts: ')).map(({ what }) => `${name}: ${what}`),
    )
  expect(await hosts()).toEqual(['redis: policy, hosts: "panda": "100.64.0.1"'])
  expect(await hosts('web')).toEqual(['web: policy, hosts: "panda": "100.64.0.1"'])
})

test('a plan that can be carried out names the command that carries out just that', async () => {
  await using world = await startSmallWorld()
  const next = async (...services: string[]) => (await plan({ mesh: world.mesh, services })).next
  expect(await next()).toEqual(['onehop migrate'])
  expect(await next('redis')).toEqual(['onehop migrate redis'])
  const out = join(world.folder, 'plan.json')
  const saved = await plan({ mesh: world.mesh, services: [], out })
  expect(saved.next).toEqual([`onehop migrate --plan ${out}`])
  expect(JSON.parse(readFileSync(out, 'utf8')).hash).toBe((saved.result as Result).hash)
})

describe('migrate', () => {
  test.for([
    ['asks', {}],
    ['--yes', { yes: true }],
  ] as const)('refuses an incomplete plan before it asks and before it sends (%s)', async ([, flags]) => {
    await using world = await startSmallWorld()
    deny('tailscale', '/api/v2/tailnet/-/acl', 500)(world)
    const answered = await migrate({ mesh: world.mesh, services: ['redis'], json: true, ...flags })
    expect(answered).toMatchObject({
      failure: { code: 'plan-unread' },
      result: { unread: ['policy'], services: [{ name: 'redis', state: 'unknown' }] },
      next: ['onehop check redis', 'onehop plan redis'],
    })
    expect(world.sent).toEqual([])
  })

  test('by a saved plan refuses a world that cannot be read whole, and names what', async () => {
    await using world = await startSmallWorld()
    const file = join(world.folder, 'plan.json')
    await plan({ mesh: world.mesh, services: ['redis'], out: file })
    await world.close('caddy')
    const answered = await migrate({ mesh: world.mesh, plan: file, services: [] })
    expect(answered).toMatchObject({
      failure: { code: 'plan-unread', message: 'this plan is incomplete: Caddy could not be read' },
      result: { problems: [{ code: 'caddy-unreachable' }] },
      text: expect.stringMatching(/^Blocked: fix these first\n {2}x Caddy's admin API /),
    })
    expect(world.sent).toEqual([])
  })

  test('refuses services beside a saved plan, and one that is not there', async () => {
    await using world = await startSmallWorld()
    const file = join(world.folder, 'plan.json')
    await expect(migrate({ mesh: world.mesh, plan: file, services: ['redis'] })).rejects.toMatchObject({
      code: 'flag-invalid',
    })
    await expect(migrate({ mesh: world.mesh, plan: file, services: [] })).rejects.toMatchObject({
      code: 'plan-unreadable',
    })
  })
})

test('changes are no failure, whatever the exit code says of them', async () => {
  const printed = vi.spyOn(process.stdout, 'write').mockImplementation((_, ...more) => {
    // As a stream does once it has written.
    const [written] = more.filter((each) => typeof each === 'function')
    written?.()
    return true
  })
  const failure = { code: 'flag-invalid', kind: 'input', message: 'm', fix: 'f' } as const
  const envelopes = []
  for (const more of [{ exit: 2 as const }, { failure }, {}]) {
    await answer('plan', { json: true }, async () => ({ result: {}, text: '', ...more }))
    envelopes.push([process.exitCode, JSON.parse(String(printed.mock.lastCall?.[0])).ok])
  }
  process.exitCode = undefined
  printed.mockRestore()
  expect(envelopes).toEqual([
    [2, true],
    [2, false],
    [0, true],
  ])
})
