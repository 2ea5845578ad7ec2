import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { lock } from 'proper-lockfile'
import { describe, expect, test } from 'vitest'
import { onThisMachine, runOnehop, type Silence, startSilence, writePrograms } from '../silence.ts'
import { createSilentWorld, type Places } from '../silent-world.ts'

// The requirement itself, with the real deadlines: an answer within 30 s, and the end of the process within 2 s of it.
const answerWithin = 30_000
const endWithin = 2000

function expectInTime({ started, answered, ended }: { started: number; answered: number; ended: number }) {
  expect(answered - started).toBeLessThan(onThisMachine(answerWithin))
  expect(ended - answered).toBeLessThan(onThisMachine(endWithin))
}

type Silent = {
  title: string
  args: string[]
  /** Which places lead to the silent server. */
  at?: (silent: { url: string; host: string }) => Places
  how?: Silence
  programs?: string[]
  /** What the answer names. */
  names: RegExp
  env?: NodeJS.ProcessEnv
}

const api = ({ url }: { url: string }): Places => ({ api: url })
const tls = ({ url }: { url: string }): Places => ({ api: url.replace('http:', 'https:') })
const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'get-token' }
const unreachable = /the cluster of context k does not answer: (no answer in 10 s|its answer has no end)/

const cases: Silent[] = [
  // The API server, by each command that asks it.
  { title: 'plan', args: ['plan'], at: api, names: unreachable },
  { title: 'check', args: ['check'], at: api, names: /cluster-answers/ },
  { title: 'drift', args: ['drift'], at: api, names: unreachable },
  { title: 'rollback --local', args: ['rollback', 'redis', '--local'], at: api, names: unreachable },
  {
    title: 'rollback --all --operator --local',
    args: ['rollback', '--all', '--operator', '--local'],
    at: api,
    names: unreachable,
  },
  {
    title: 'unexpose --local',
    args: ['unexpose', 'redis', '--local'],
    at: ({ url }) => ({ api: url, service: { oldPath: 'none' } }),
    names: unreachable,
  },
  // And each way of being silent.
  { title: 'a TLS handshake', args: ['rollback', 'redis', '--local'], at: tls, names: unreachable },
  {
    title: 'headers alone',
    args: ['rollback', 'redis', '--local'],
    at: api,
    how: 'headers',
    names: unreachable,
  },
  { title: 'a drip', args: ['rollback', 'redis', '--local'], at: api, how: 'drip', names: unreachable },
  { title: 'a flood', args: ['rollback', 'redis', '--local'], at: api, how: 'flood', names: unreachable },
  // What gives the credentials for it.
  {
    title: 'the exec plugin of the kubeconfig',
    args: ['rollback', 'redis', '--local'],
    at: () => ({ user: { exec } }),
    programs: ['get-token'],
    names: /get-token, which gives the credentials of user u: no answer in 8 s/,
  },
  {
    title: 'a kubeconfig that is a FIFO',
    args: ['plan'],
    at: () => ({ fifos: ['kubeconfig'] }),
    names: /kubeconfig is a FIFO, expected a regular file/,
  },
  // Everything else.
  {
    title: 'the token of the Tailscale API',
    args: ['plan'],
    at: ({ url }) => ({ tailscale: url }),
    names: /Tailscale.*does not answer: no answer in 10 s/,
  },
  {
    title: "Caddy's admin API",
    args: ['drift'],
    at: ({ url }) => ({ caddy: url }),
    names: /no answer|caddy/i,
  },
  {
    title: 'the programs tailscale, caddy and helm',
    args: ['check'],
    programs: ['tailscale', 'caddy', 'helm'],
    names: /tailscaled-answers.*caddy-version/s,
  },
  {
    title: 'caddy preview',
    args: ['caddy', 'preview', '--from', 'localhost:6379', '--to', 'redis:6379'],
    programs: ['caddy'],
    names: /caddy version: no answer in 10 s/,
  },
  {
    title: 'the engine',
    args: ['abort'],
    at: ({ url }) => ({ engine: url }),
    names: /Inngest server .*no answer in 8 s/,
  },
  {
    title: 'a credential that is a FIFO',
    args: ['plan'],
    at: () => ({ fifos: ['id', 'secret'] }),
    names: /cannot read the credential .*no answer in 10 s/,
  },
  {
    title: 'a mesh.yaml that is a FIFO',
    args: ['status'],
    at: () => ({ fifos: ['mesh.yaml'] }),
    names: /mesh.yaml: no answer in 10 s/,
  },
]

describe.concurrent('silent', { timeout: 120_000 }, () => {
  test.for(cases)('$title', async ({ args, at, how, programs = [], names }, { expect }) => {
    await using silent = await startSilence(how)
    using world = createSilentWorld(at?.(silent) ?? {})
    const bin = writePrograms(world.folder, programs)
    const file = args[0] === 'caddy' ? ['--file', world.at('Caddyfile')] : world.mesh
    using run = runOnehop([...args, '--json', ...file], { env: { PATH: `${bin}:${process.env.PATH}` } })
    const { stdout, stderr, code, ...times } = await run.ended
    expect(stdout, stderr).toMatch(names)
    expect(code, stderr).toBeTypeOf('number')
    // A busy machine takes its time to load a command: that is not the silence.
    expectInTime({ ...times, started: silent.asked ?? times.started })
  })

  test('scan, with Docker hanging and a kubeconfig from KUBECONFIG', async () => {
    using world = createSilentWorld({})
    const bin = writePrograms(world.folder, ['docker', 'tailscale', 'caddy'])
    await using silent = await startSilence()
    using cluster = createSilentWorld({ api: silent.url })
    using run = runOnehop(['scan', '--json'], {
      env: { PATH: `${bin}:${process.env.PATH}`, KUBECONFIG: cluster.at('kubeconfig') },
    })
    const { stdout, ...times } = await run.ended
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'kubernetes-unreachable' } })
    expectInTime(times)
  })

  test('a lock that another process holds', async () => {
    using world = createSilentWorld({})
    const release = await lock(join(world.folder, 'state', 'policy'), { realpath: false })
    writeFileSync(join(world.folder, 'state', 'policy.holder'), 'onehop worker (pid 1)')
    using run = runOnehop(['policy', 'confirm', '--json', ...world.mesh])
    const { stdout, ...times } = await run.ended
    await release()
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'journal-locked', message: expect.stringContaining('onehop worker (pid 1)') },
    })
    expectInTime(times)
  })

  test('nothing, and the API server refuses', async ({ expect }) => {
    using world = createSilentWorld({})
    using run = runOnehop(['rollback', 'redis', '--local', '--json', ...world.mesh])
    const { stdout, ...times } = await run.ended
    expect(JSON.parse(stdout)).toMatchObject({ error: { message: expect.stringContaining('ECONNREFUSED') } })
    expectInTime(times)
  })

  test('the lock of a service that another process holds, for rollback --local', async ({ expect }) => {
    const cluster = createServer((_, response) => {
      response.setHeader('content-type', 'application/json').end('{"metadata":{"uid":"cluster-1"}}')
    })
    cluster.listen(0, '127.0.0.1')
    await once(cluster, 'listening')
    const { port } = cluster.address() as AddressInfo
    using world = createSilentWorld({ api: `http://127.0.0.1:${port}` })
    const release = await lock(world.at('state/services/redis.json'))
    using run = runOnehop(['rollback', 'redis', '--local', '--json', ...world.mesh])
    const { stdout, ...times } = await run.ended
    await release()
    cluster.close()
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'journal-locked' } })
    expectInTime(times)
  })

  test('rollback --local says what it is at, and what was not taken back', async () => {
    await using silent = await startSilence()
    using world = createSilentWorld({ api: silent.url })
    using run = runOnehop(['rollback', 'redis', '--local', '--json', ...world.mesh])
    await expect.poll(() => run.said.stderr, { timeout: 20_000 }).toContain('redis/rollback: begin\n')
    expect(run.said.stdout).toBe('')
    const { stdout } = await run.ended
    expect(JSON.parse(stdout)).toMatchObject({
      result: { service: 'redis', state: 'refused', undone: [], standing: ['expose'] },
      error: { code: 'kubernetes-unreachable' },
      fix: 'kubectl --context k get nodes',
    })
  })
})
