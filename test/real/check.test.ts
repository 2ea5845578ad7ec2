import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { onehopProgram } from '../../sandbox/worker.ts'
import type { CheckedGroup } from '../../src/plan/checks.ts'
import { victims } from '../crash/victims.ts'
import { kubeconfig, onehop, read, waitFor, world } from './panda.ts'

beforeAll(async () => {
  await onehop('operator', 'install')
})
afterAll(async () => {
  await onehop('rollback', 'typesense', '--local')
})

type Result = { groups: CheckedGroup[]; failed: string[]; crosses: number }

/** What onehop check finds: its crosses by id, and the groups that could not look at something. */
async function check(...args: string[]) {
  const { envelope, exitCode } = await onehop('check', ...args)
  const { groups, failed } = envelope.result as unknown as Result
  const unseen = Object.fromEntries(
    groups.flatMap(({ name, unseen }) => (unseen ? [[name, unseen.why]] : [])),
  )
  return { exitCode, groups, failed, unseen, ids: groups.flatMap(({ checks }) => checks.map(({ id }) => id)) }
}

/** As a person sees it, without colours. */
async function seen(...args: string[]) {
  const [node = '', ...program] = onehopProgram
  return world.panda.run(node, [...program, 'check', ...args], { reject: false, env: { NO_COLOR: '1' } })
}

describe('a healthy mesh', () => {
  test('has no cross before a move, and --pre says nothing of what is moved or of the worker', async () => {
    expect(await check()).toMatchObject({ exitCode: 0, failed: [], unseen: {} })
    const pre = await check('--pre')
    expect(pre).toMatchObject({ exitCode: 0, failed: [], unseen: {} })
    expect(pre.ids).toContain('port-map-answers')
    for (const id of ['worker-answers', 'device-answers', 'caddy-counts', 'requests-alive'])
      expect(pre.ids).not.toContain(id)
  })

  test('has no cross after a move, and the device name is asked', async () => {
    const moved = await onehop('expose', 'typesense')
    expect(moved.envelope.error).toBeNull()
    const { failed, groups, exitCode } = await check('typesense')
    expect({ failed, exitCode }).toEqual({ failed: [], exitCode: 0 })
    const services = groups.filter(({ service }) => service)
    expect(services.map(({ service, status }) => ({ service, status }))).toEqual([
      { service: 'typesense', status: 'tick' },
    ])
    expect(services[0]?.checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining([
        'device-made',
        'device-known',
        'dns-right',
        'device-answers',
        'not-fallen-back',
      ]),
    )
  })
})

test('a user of the kubeconfig who may only look is told what he may not do', async () => {
  const admin = read(kubeconfig)
  const token = (await world.kubectl(['-n', 'joelclaw', 'create', 'token', 'default'])).trim()
  const view = ['--clusterrole=view', '--serviceaccount=joelclaw:default']
  await world.kubectl(['create', 'clusterrolebinding', 'onlooker', ...view])
  writeFileSync(kubeconfig, admin.replace('admin-token', token))
  try {
    const { failed, groups } = await check()
    expect(failed).toEqual(['cluster-readable', 'cluster-writable'])
    const writable = groups.flatMap(({ checks }) => checks).find(({ id }) => id === 'cluster-writable')
    expect(writable).toMatchObject({
      why: 'the cluster refused patch services in namespace joelclaw: it is not allowed to (RBAC)',
      cure: 'kubectl --context admin@talos auth can-i --list',
    })
  } finally {
    writeFileSync(kubeconfig, admin)
    await world.kubectl(['delete', 'clusterrolebinding', 'onlooker'])
  }
})

const freeze = (pid: number | undefined, signal: 'SIGSTOP' | 'SIGCONT') => {
  if (pid === undefined) throw new Error('it does not run')
  process.kill(pid, signal)
}
/** It still takes connections, and never answers. */
const frozen = (pid: () => number | undefined) => ({
  down: () => freeze(pid(), 'SIGSTOP'),
  back: () => freeze(pid(), 'SIGCONT'),
})
const server = (name: string) => () => world.server(name).pid()
const scaleOperator = (replicas: number) =>
  world.kubectl(['-n', 'tailscale', 'scale', 'deployment/operator', `--replicas=${replicas}`])

const engineReady = async () =>
  (await world.kubectl(['-n', 'joelclaw', 'get', 'pod', 'inngest-0', '-o', readyPath])) === 'True'
const readyPath = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
const operatorPods = async () =>
  JSON.parse(await world.kubectl(['-n', 'tailscale', 'get', 'pods', '-l', 'app=operator', '-o', 'json']))
    .items

const everyService = ['redis', 'qdrant', 'inngest', 'livekit', 'pds', 'typesense'].map(
  (name) => `service ${name}`,
)
const groupsOf = (names: string[], why: string) =>
  Object.fromEntries(names.map((name) => [name, `not looked at: ${why}`]))

/** Each system that is down: what fails then, and whatever else could not be looked at. */
const downs = {
  'the API server of the cluster': {
    ...frozen(server('kube-apiserver')),
    failed: ['cluster-answers'],
    unseen: groupsOf(['operator', ...everyService], 'the cluster did not answer'),
  },
  Caddy: {
    down: () => world.server('caddy').kill(),
    back: () => world.server('caddy').start(),
    failed: ['caddy-answers'],
    unseen: {},
  },
  'the tailscaled of panda': {
    down: () => world.server('tailscaled-panda').kill(),
    back: () => world.server('tailscaled-panda').start(),
    failed: ['tailscaled-answers'],
    unseen: groupsOf(['service typesense'], 'the tailscaled of this machine did not answer'),
  },
  "Tailscale's API": {
    down: () => world.server('tailscale-api').kill(),
    back: () => world.server('tailscale-api').start(),
    failed: ['tailscale-api-answers'],
    unseen: groupsOf(['policy', 'operator', ...everyService], 'the Tailscale API did not answer'),
  },
  'the engine': {
    ...frozen(victims.engine.pid),
    // Its pod is not ready any more a moment later.
    async down() {
      freeze(victims.engine.pid(), 'SIGSTOP')
      await waitFor('the pod not to be ready', async () => !(await engineReady()))
    },
    failed: ['engine-answers', 'inngest/service-endpoints'],
    unseen: groupsOf(['service inngest'], 'the engine did not answer'),
  },
  'the operator, scaled to 0': {
    async down() {
      await scaleOperator(0)
      await waitFor('the operator to be gone', async () => (await operatorPods()).length === 0)
    },
    back: () => scaleOperator(1),
    failed: ['operator-running'],
    unseen: {},
  },
} satisfies Record<string, Down>

type Down = {
  down: () => unknown
  back: () => unknown
  failed: string[]
  unseen: Record<string, string>
}

describe('with a system down, check ends by its own deadlines and names exactly that one', () => {
  test.for(Object.entries<Down>(downs))('%s', async ([, { down, back, failed, unseen }]) => {
    try {
      await down()
      const found = await check()
      expect(found).toMatchObject({ failed, unseen, exitCode: 1 })
      expect(Object.keys(found.unseen)).toEqual(Object.keys(unseen))
    } finally {
      await back()
    }
    expect(await check('--wait', '60')).toMatchObject({ failed: [], exitCode: 0 })
  })

  test('all of them at once', async () => {
    const pids = [
      ...['kube-apiserver', 'caddy', 'tailscaled-panda', 'tailscale-api'].map((name) => server(name)()),
      victims.engine.pid(),
    ]
    await scaleOperator(0)
    for (const pid of pids) freeze(pid, 'SIGSTOP')
    try {
      const { failed, unseen, exitCode } = await check()
      expect({ failed, exitCode }).toEqual({
        failed: [
          ...['tailscale-api-answers', 'tailscaled-answers', 'cluster-answers'],
          ...['caddy-answers', 'engine-answers'],
        ],
        exitCode: 1,
      })
      expect(unseen['service typesense']).toBe(
        'not looked at: the cluster did not answer; the Tailscale API did not answer; the tailscaled of this machine did not answer',
      )
      expect(Object.keys(unseen)).toEqual(['policy', 'operator', ...everyService])
      // What is known to be down can be left out; what hangs on it is a warning.
      const skip = failed.flatMap((id) => ['--skip', id])
      const short = await seen('--short', ...skip)
      expect(short).toMatchObject({ exitCode: 0, stderr: '' })
      expect(short.stdout).toMatch(/^√ onehop {2}4 of 4$/m)
      expect(short.stdout).toMatch(/^‼ cluster {2}/m)
      expect(short.stdout).not.toContain('×')
    } finally {
      for (const pid of pids) freeze(pid, 'SIGCONT')
      await waitFor('the API server', async () => (await world.kubectl(['get', '--raw', '/readyz'])) === 'ok')
      await scaleOperator(1)
    }
    expect(await check('--wait', '60')).toMatchObject({ failed: [], exitCode: 0 })
  })
})
