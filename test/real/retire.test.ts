import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { proveFrom } from '../../sandbox/prove-from.ts'
import { leftovers, none } from './operator-leftovers.ts'
import { caddyfile, entryOf, meshFile, onehop, read, serviceOwned, waitFor, world } from './panda.ts'
import { policy } from './tailnet-policy.ts'
import { engineBack } from './under-way.ts'

const services = ['redis', 'qdrant', 'livekit', 'pds', 'typesense', 'inngest']
const objects = services.map((each) => (each === 'inngest' ? 'inngest-svc' : each))
const books = join(world.panda.home, 'NEIGHBORHOOD.md')
const neighborhood = '# Who lives here\r\n\r\n* panda\r\n* clanker-001'
const hold = 6
const chart = fileURLToPath(new URL('../../sandbox/chart', import.meta.url))
const helmCommand = 'helm -n joelclaw upgrade pds REPOSITORY/stand-in --version 1.0.0 --reuse-values'
const url = (site: string) => `https://panda.tail7af24.ts.net:${site}`

const state = async () => ({
  caddyfile: read(caddyfile),
  policy: await policy(),
  books: readFileSync(books, 'utf8'),
  owned: await Promise.all(objects.map(serviceOwned)),
})
let before: Awaited<ReturnType<typeof state>>

const typeOf = async (service: string) =>
  (await world.kubectl(['-n', 'joelclaw', 'get', 'service', service, '-o', 'jsonpath={.spec.type}'])).trim()
const reload = () => world.panda.run('caddy', ['reload', '--config', caddyfile, '--adapter', 'caddyfile'])

beforeAll(async () => {
  await onehop('operator', 'install')
  cpSync(caddyfile, `${caddyfile}.saved`)
  cpSync(meshFile, `${meshFile}.saved`)
  // Caddy counts requests, those for Qdrant's second port too, and the time of quiet is short.
  const second = `${url('6444')} {\n\timport tailnet_cert\n\treverse_proxy localhost:6334\n}\n`
  // By a file server, Caddy's config has the name of the Caddyfile.
  const files = 'http://localhost:9796 {\n\troot * /srv\n\tfile_server\n}\n'
  writeFileSync(
    caddyfile,
    `${read(caddyfile).replace('\tadmin localhost:2019\n', '\tadmin localhost:2019\n\tmetrics\n')}\n${second}${files}`,
  )
  await reload()
  writeFileSync(
    meshFile,
    `${read(meshFile).replace('6443": 6333', `6443": 6333, "${url('6444')}": 6334`)}\nretire: { hold: ${hold}, every: 1 }\nbooks: ~/NEIGHBORHOOD.md\n`,
  )
  writeFileSync(books, neighborhood)
  before = await state()
  const { envelope } = await onehop('migrate', ...services, '--yes')
  expect(envelope.error).toBeNull()
})
afterAll(async () => {
  await onehop('rollback', '--all', '--local')
  cpSync(`${caddyfile}.saved`, caddyfile)
  await reload()
  cpSync(`${meshFile}.saved`, meshFile)
  await world.server('worker').stop()
  await world.server('worker').start()
})

/** A request to a site that is nobody's here: Caddy's counters count as running only once they have counted something. */
const countSomething = () => world.panda.run('curl', ['-sk', url('5443'), '-m', '2'], { reject: false })
const retired = (service: string, ...flags: string[]) => onehop('retire', service, '--yes', ...flags)

test('what is moved stands in NEIGHBORHOOD.md, and every other byte of it stays', () => {
  const text = readFileSync(books, 'utf8')
  expect(text.startsWith(neighborhood)).toBe(true)
  expect(text).toContain('redis://redis.tail7af24.ts.net:6379')
})

test('right after the switch the old path was not shown to be unused: nothing is touched', async () => {
  await onehop('rollback', 'qdrant')
  await onehop('expose', 'qdrant')
  const { envelope } = await retired('qdrant')
  expect(envelope.error?.code).toMatch(/old-path-not-yet-quiet|old-path-in-use/)
  expect(await typeOf('qdrant')).toBe('NodePort')
  expect(entryOf('qdrant')?.state).toBe('moved')
})

test('who still uses it is named, and blocks', async () => {
  const client = "require('net').connect(6333, 'localhost'); setInterval(() => {}, 1000)"
  await world.panda.spawn('old-client', [process.execPath, '-e', client])
  try {
    await waitFor('the client to be seen', async () => {
      const { envelope } = await retired('qdrant')
      return (
        envelope.error?.code === 'old-path-in-use' &&
        envelope.error.message.includes(`(pid ${world.server('old-client').pid()}) on port 6333`)
      )
    })
  } finally {
    await world.server('old-client').kill()
  }
})

test('with a remaining route to its port map it is refused, with route and line', async () => {
  const saved = read(caddyfile)
  writeFileSync(caddyfile, `${saved}\nhttp://localhost:9797 {\n\treverse_proxy localhost:7880\n}\n`)
  await reload()
  const { envelope } = await retired('livekit')
  expect(envelope.error).toMatchObject({
    code: 'caddy-route-remains',
    message: expect.stringMatching(/Caddyfile:\d+ site http:\/\/localhost:9797 still goes to localhost:7880/),
  })
  writeFileSync(caddyfile, saved)
  await reload()
})

test('the engine goes last, and asks first whether its apps know its new name', async () => {
  const asked = await onehop('retire', 'inngest')
  expect(asked.envelope.error).toMatchObject({
    code: 'flag-invalid',
    message: expect.stringMatching(/apps are registered with the engine.*\n {2}onehop/),
  })
  const { envelope } = await retired('inngest', '--force')
  expect(envelope.error?.code).toBe('engine-goes-last')
})

test('shown unused, it goes: ClusterIP, no route, no port map; the device name answers on', async () => {
  await countSomething()
  await waitFor('qdrant to be shown unused', async () => (await retired('qdrant')).envelope.ok, 90)
  expect(entryOf('qdrant')?.state).toBe('retired')
  expect(await typeOf('qdrant')).toBe('ClusterIP')
  expect(read(caddyfile)).not.toContain('qdrant.tail7af24.ts.net')
  const [device, ...old] = await proveFrom(world.panda, [
    'http://qdrant.tail7af24.ts.net:6333/instance',
    'http://localhost:6333/instance',
    `${url('6443')}/instance`,
  ])
  expect([device?.ok, ...old.map((each) => each.ok)]).toEqual([true, false, false])
  const { envelope } = await onehop('migrate', 'qdrant', '--yes')
  expect(envelope.error?.code).toBe('already-retired')
})

test('where nothing counts its requests, only a code of the command line retires it', async () => {
  await waitFor(
    'redis to be quiet',
    async () => {
      const { envelope } = await retired('redis')
      return envelope.error?.code === 'old-path-only-sampled'
    },
    60,
  )
  const { envelope } = await retired('redis', '--force')
  expect(envelope.error).toBeNull()
  expect(envelope.result).toMatchObject({
    state: 'retired',
    portMaps: { dropped: expect.arrayContaining([{ service: 'redis', map: '6379:6379/tcp' }]) },
  })
})

test('a Service that Helm owns keeps its type, and the values to set are said', async () => {
  const { envelope } = await retired('pds', '--force')
  expect(envelope.error).toBeNull()
  expect(envelope.result).toMatchObject({
    state: 'retired',
    notes: [
      expect.stringMatching(/belongs to Helm release pds \(type written by helm\): its type stays NodePort/),
    ],
    kept: { managed: 'helm', set: ['service.type=ClusterIP'], command: expect.stringContaining(helmCommand) },
  })
  expect(await typeOf('pds')).toBe('NodePort')
})

test('all of it, the engine last: once the worker uses its new name and no route of Caddy dials its port map', async () => {
  for (const service of ['livekit', 'typesense'])
    expect((await retired(service, '--force')).envelope.error).toBeNull()
  writeFileSync(
    meshFile,
    read(meshFile).replace('url: http://localhost:8288', 'url: http://inngest.tail7af24.ts.net:8288'),
  )
  await world.server('worker').stop()
  await world.server('worker').start()
  await engineBack()
  await waitFor('the worker', async () => {
    const { envelope } = await onehop('status')
    return (envelope.result as unknown as { worker: { running: boolean } }).worker.running
  })
  const { envelope: status } = await onehop('status')
  expect(status.result).toMatchObject({ worker: { engine: 'http://inngest.tail7af24.ts.net:8288' } })
  // The Funnel server's fallback is the user's to point elsewhere.
  const blocked = await retired('inngest', '--force')
  expect(blocked.envelope.error?.code).toBe('caddy-route-remains')
  writeFileSync(
    caddyfile,
    read(caddyfile).replace('reverse_proxy localhost:8288', 'reverse_proxy inngest.tail7af24.ts.net:8288'),
  )
  await reload()
  // Whoever was just seen on its old ports (this test, asking for its apps) holds it, also by force.
  await waitFor('the engine to be retired', async () => (await retired('inngest', '--force')).envelope.ok)
  expect(await Promise.all(objects.map(typeOf))).toEqual(
    objects.map((each) => (['pds', 'livekit'].includes(each) ? 'NodePort' : 'ClusterIP')),
  )
  expect(readFileSync(books, 'utf8')).toContain('http://inngest.tail7af24.ts.net:8288')
}, 300_000)

test('once its owner has made it a ClusterIP, nothing takes its last path away', async () => {
  const upgrade = (type: string) =>
    world.panda.run('helm', [
      ...helmCommand.replace('REPOSITORY/stand-in', chart).split(' ').slice(1),
      `--set=service.type=${type}`,
    ])
  await upgrade('ClusterIP')
  expect(await typeOf('pds')).toBe('ClusterIP')
  const { envelope } = await onehop('rollback', 'pds', '--local')
  expect(envelope.error?.code).toBe('port-map-gone')
  const [device] = await proveFrom(world.panda, ['http://pds.tail7af24.ts.net:3000/instance'])
  expect(device?.ok).toBe(true)
  await upgrade('NodePort')
  expect(await typeOf('pds')).toBe('NodePort')
})

test('one rollback of everything from there, without the engine: every object as it was, and no operator', async () => {
  // What the user has pointed at the device name is theirs to point back, before it goes.
  writeFileSync(
    caddyfile,
    read(caddyfile).replace('reverse_proxy inngest.tail7af24.ts.net:8288', 'reverse_proxy localhost:8288'),
  )
  await reload()
  const reloads = () =>
    read(world.log('caddy'))
      .split('\n')
      .filter((line) => line.includes('"uri":"/load"')).length
  const earlier = reloads()
  const { envelope } = await onehop('rollback', '--all', '--operator', '--local')
  expect(envelope.error).toBeNull()
  // One edit for all routes: what was retired comes back to the port maps at once.
  expect(reloads() - earlier).toBe(1)
  const after = await state()
  expect(after).toEqual(before)
  expect(await leftovers()).toEqual(none)
  const urls = [
    'tcp://localhost:6333',
    'redis://localhost:6379',
    `${url('6443')}/instance`,
    `${url('9443')}/health`,
  ]
  const answers = await proveFrom(world.panda, urls)
  expect(answers.map((each) => each.ok)).toEqual(urls.map(() => true))
})
