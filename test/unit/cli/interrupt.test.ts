import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import pWaitFor from 'p-wait-for'
import { lock } from 'proper-lockfile'
import { describe, expect, test } from 'vitest'
import { openJournal } from '../../../src/journal.ts'
import { onThisMachine, runOnehop, startSilence } from '../silence.ts'
import { createSilentWorld, type Places } from '../silent-world.ts'

// The requirement itself: a signal is obeyed within 5 s, whatever is silent.
const obeyedWithin = 5000
const keys = { INNGEST_EVENT_KEY: 'e7ba11c0ffee', INNGEST_SIGNING_KEY: '5164'.repeat(16) }
type Run = ReturnType<typeof runOnehop>

/** Waits, for longer than a busy machine takes to load a command. */
const until = (isSo: () => boolean | Promise<boolean>) => pWaitFor(isSo, { interval: 20, timeout: 40_000 })
const heard = (run: Run, words: string) => until(() => run.said.stderr.includes(words))

async function obeyed(run: Run, signal: NodeJS.Signals) {
  const sent = Date.now()
  run.child.kill(signal)
  const ended = await run.ended
  expect(ended.ended - sent, ended.stderr).toBeLessThan(onThisMachine(obeyedWithin))
  return ended
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('a worker stops at a signal, gives the state folder back and ends with 0', {
  timeout: 60_000,
}, () => {
  test.for<[title: string, signal: NodeJS.Signals, places: (url: string, listen: string) => Places]>([
    ['its engine refuses', 'SIGTERM', () => ({})],
    ['its engine refuses', 'SIGINT', () => ({})],
    ['its engine is silent', 'SIGTERM', (url) => ({ engine: url })],
    ['the engine that should call it refuses', 'SIGTERM', (_, at) => ({ serveOrigin: `http://${at}` })],
    [
      'the engine that should call it is silent',
      'SIGINT',
      (url, at) => ({ engine: url, serveOrigin: `http://${at}` }),
    ],
  ])('%s (%s)', async ([, signal, places]) => {
    await using silent = await startSilence()
    const listen = `127.0.0.1:${await freePort()}`
    using world = createSilentWorld({ ...places(silent.url, listen), api: silent.url, worker: listen })
    using run = runOnehop(['worker', ...world.mesh], { env: keys })
    await heard(run, 'onehop worker on')
    await until(() => existsSync(world.at('state/worker.lock')))
    expect(await obeyed(run, signal)).toMatchObject({ code: 0, stdout: expect.stringMatching(/stopped\n$/) })
    expect(readdirSync(world.at('state'))).not.toContain('worker.lock')
  })

  test('while another holds the state folder', async () => {
    const listen = `127.0.0.1:${await freePort()}`
    using world = createSilentWorld({ worker: listen })
    const release = await lock(world.at('state/worker'), { realpath: false })
    using run = runOnehop(['worker', ...world.mesh], { env: keys })
    // It listens before it takes the folder.
    await until(() => accepts(listen))
    expect(await obeyed(run, 'SIGTERM')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/stopped\n$/),
    })
    await release()
  })

  test('with a request of the engine in progress; a second signal does not wait for it', async () => {
    const listen = `127.0.0.1:${await freePort()}`
    using world = createSilentWorld({ worker: listen, serveOrigin: `http://${listen}` })
    for (const signals of [['SIGTERM'], ['SIGTERM', 'SIGINT']] as const) {
      using run = runOnehop(['worker', ...world.mesh], { env: keys })
      await heard(run, 'onehop worker on')
      const port = Number(listen.split(':')[1])
      const request = connect({ host: '127.0.0.1', port })
      request.on('error', () => {})
      request.write(
        'POST /api/inngest?fnId=onehop-migrate&stepId=step HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{',
      )
      await once(request, 'connect')
      const [first, second] = signals
      if (second) {
        run.child.kill(first)
        await until(async () => !(await accepts(listen)))
      }
      const ended = await obeyed(run, second ?? first)
      expect(ended).toMatchObject(second ? { code: 130 } : { code: 0 })
      expect(readdirSync(world.at('state'))).not.toContain('worker.lock')
    }
  })
})

describe.concurrent('a command ends at a signal', { timeout: 60_000 }, () => {
  test('the vantage, whose engine is silent', async ({ expect }) => {
    await using silent = await startSilence()
    using world = createSilentWorld({ engine: silent.url })
    using run = runOnehop(['probe', '--as', 'laptop', ...world.mesh], { env: keys })
    await heard(run, 'onehop probe as laptop')
    expect(await obeyed(run, 'SIGINT')).toMatchObject({ code: 0 })
  })

  test.for<[title: string, args: string[], places: (url: string) => Places]>([
    ['a plan', ['plan'], (url) => ({ api: url, tailscale: url, caddy: url })],
    ['a status, whose mesh.yaml is a FIFO', ['status'], () => ({ fifos: ['mesh.yaml'] })],
    ['a plan, whose credentials are FIFOs', ['plan'], (url) => ({ api: url, fifos: ['id', 'secret'] })],
  ])('%s', async ([, args, places], { expect }) => {
    await using silent = await startSilence()
    using world = createSilentWorld(places(silent.url))
    using run = runOnehop([...args, ...world.mesh])
    // Nothing is said before the answer: that it has begun is seen from outside, where anything is.
    if (places('').api !== undefined) await until(() => silent.clients > 0)
    const { code, signal } = await obeyed(run, 'SIGTERM')
    expect(code ?? signal).toSatisfy((how) => how === 143 || how === 'SIGTERM')
  })

  test('rollback --local, and says that it can be run again', async ({ expect }) => {
    await using silent = await startSilence()
    using world = createSilentWorld({ api: silent.url })
    using run = runOnehop(['rollback', 'redis', '--local', '--json', ...world.mesh])
    await heard(run, 'redis/rollback: begin')
    const { code, stdout } = await obeyed(run, 'SIGINT')
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'rollback-interrupted', message: expect.stringContaining('redis/rollback: begin') },
      fix: expect.stringContaining('run the same command again'),
    })
  })

  test.for([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'a migration is only watched: %s says that it goes on, and how it is stopped',
    async ([signal, exit], { expect }) => {
      const sent: Array<{ id: string }> = []
      const engine = createServer(async (request, response) => {
        sent.push(JSON.parse(await text(request)))
        response.end('{"ids":[],"status":200}')
      }).listen(0, '127.0.0.1')
      await once(engine, 'listening')
      const { port } = engine.address() as AddressInfo
      using world = createSilentWorld({ engine: `http://127.0.0.1:${port}` })
      using run = runOnehop(['expose', 'redis', ...world.mesh], { env: keys })
      await until(() => sent.length === 1)
      const id = sent[0]?.id ?? ''
      const journal = await openJournal(world.at('state'))
      const event = 'mesh/service.expose.requested'
      await journal.beginRequest({ id, event, data: { service: 'redis' }, run: 'run' }, 600)
      await journal.checkIn(id, 'run', { phase: 'operator: look', seconds: 600 })
      await heard(run, `${event}: operator: look`)
      const { code, stderr } = await obeyed(run, signal)
      engine.close()
      expect(code).toBe(exit)
      expect(stderr).toContain(`onehop abort ${id}`)
      expect(stderr).toContain('[request-goes-on]')
      expect((await journal.readRequest(id))?.state).toBe('running')
    },
  )
})

describe.concurrent('whoever reads the answer', { timeout: 60_000 }, () => {
  const big = (at: (file: string) => string) => {
    for (let index = 0; index < 60; index++) {
      const changes = [{ id: 'switch', before: 'x'.repeat(20_000), target: null, undone: false }]
      const entry = {
        version: 1,
        service: `s${index}`,
        attempt: 1,
        state: 'moved',
        request: 'r',
        run: 'r',
        cluster: 'c',
        tailnet: 't',
        changes,
        ended: {},
      }
      writeFileSync(at(join('state', 'services', `s${index}.json`)), JSON.stringify(entry))
    }
  }

  test('may go after its first lines', async ({ expect }) => {
    using world = createSilentWorld({})
    big(world.at)
    using run = runOnehop(['journal', ...world.mesh])
    await once(run.child.stdout, 'data')
    run.child.stdout.destroy()
    expect(await run.ended).toMatchObject({ code: 0, stderr: '' })
  })

  test('may be slow, and gets all of it', async ({ expect }) => {
    using world = createSilentWorld({})
    big(world.at)
    using run = runOnehop(['journal', '--json', ...world.mesh])
    // The pipe is full, and the command waits, for as long as nothing is read.
    run.child.stdout.pause()
    await once(run.child.stdout, 'readable')
    expect(run.child.exitCode).toBe(null)
    run.child.stdout.resume()
    const { stdout, code } = await run.ended
    expect(code).toBe(0)
    expect(JSON.parse(stdout).result.services).toHaveLength(61)
  })
})

const accepts = (listen: string): Promise<boolean> =>
  new Promise((resolve) => {
    const [host = '', port] = listen.split(':')
    const socket = connect({ host, port: Number(port) })
    const end = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('connect', end(true)).on('error', end(false))
  })
