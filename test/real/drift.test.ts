import { cpSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { driftKindNames } from '../../src/plan/drift-kinds.ts'
import { books, driftCases, exposedByHand, savePolicy } from './drift-cases.ts'
import {
  engine,
  meshFile,
  onehop,
  read,
  requestOf,
  sendEvent,
  serviceOwned,
  waitFor,
  world,
} from './panda.ts'

/**
 * Shown elsewhere: `fell-back` in fell-back.test.ts, `service-gone` at the end of this file. A proxy that is never made and
 * a MagicDNS that lies cannot be had here (tailscaled answers from what it knows of the device): those have unit tests.
 */
const elsewhere = ['fell-back', 'service-gone', 'proxy-missing', 'name-elsewhere']

const services = ['redis', 'qdrant', 'livekit', 'typesense']
let unmanaged: unknown

type Found = {
  drifts: Array<{ kind: string; subject: string; severity: string; repair?: string; cause?: string }>
}
async function look(): Promise<{ ids: string[]; found: Found; exitCode: number; stdout: string }> {
  const { envelope, exitCode, stdout } = await onehop('drift', '--detailed-exitcode')
  const found = envelope.result as unknown as Found
  return { found, exitCode, stdout, ids: found.drifts.map(({ kind, subject }) => `${kind} ${subject}`) }
}

beforeAll(async () => {
  cpSync(meshFile, `${meshFile}.saved`)
  writeFileSync(
    meshFile,
    `${read(meshFile)}\nbooks: ~/NEIGHBORHOOD.md\ndrift: { known: ["engine-open http://localhost:8443", "exposed-elsewhere joelclaw/by-hand"] }\n`,
  )
  writeFileSync(books, '# Who lives here\n')
  await world.kubectl(['apply', '-f', '-'], JSON.stringify(exposedByHand('by-hand')))
  const { envelope } = await onehop('migrate', ...services, '--yes')
  expect(envelope.error).toBeNull()
  for (const service of ['redis', 'livekit']) {
    const { envelope } = await onehop('retire', service, '--force')
    expect(envelope.error).toBeNull()
  }
  await savePolicy()
  unmanaged = await serviceOwned('by-hand')
})
afterAll(async () => {
  await world.kubectl(['-n', 'joelclaw', 'delete', 'service', 'by-hand', '--wait=false'])
  await onehop('rollback', '--all', '--local')
  cpSync(`${meshFile}.saved`, meshFile)
})

test('each kind of drift has its case', () => {
  const shown = [...driftCases.map(({ kind }) => kind), ...elsewhere]
  expect(shown.toSorted()).toEqual([...driftKindNames].sort())
})

test('a healthy mesh reports nothing, ten times in a row', async () => {
  for (let time = 0; time < 10; time++) {
    const { ids, exitCode } = await look()
    expect(ids).toEqual([])
    expect(exitCode).toBe(0)
  }
})

test.for(driftCases)('$kind is found, and put right', async ({ kind, subject, make, restore, also = [] }) => {
  const id = `${kind} ${subject}`
  await make()
  try {
    let last: Awaited<ReturnType<typeof look>> | undefined
    await waitFor(id, async () => {
      last = await look()
      // Nothing else with it, once what was made has settled.
      return isDeepStrictEqual(last.ids.toSorted(), [id, ...also].sort())
    }).catch((thrown: unknown) => {
      throw new Error(`${id} and nothing else; found: ${last?.ids.join('; ')}`, { cause: thrown })
    })
    expect(last?.exitCode).toBe(2)
    if (!restore) {
      expect(last?.found.drifts.find((each) => each.kind === kind)?.repair).toBeDefined()
      const { envelope } = await onehop('drift', '--repair', id, '--yes')
      expect(envelope.error).toBeNull()
      expect(await look()).toMatchObject({ ids: [], exitCode: 0 })
    }
  } catch (thrown) {
    // What one try has left half done must not be found by the next.
    if (!restore) await onehop('drift', '--repair', '--yes')
    throw thrown
  } finally {
    await restore?.()
  }
  if (restore) await waitFor(`no more ${id}`, async () => (await look()).ids.length === 0, 90)
  expect(await serviceOwned('by-hand')).toEqual(unmanaged)
})

test('what the worker finds is told once, and repaired where mesh.yaml lets it', async () => {
  const news = join(world.panda.home, 'news.jsonl')
  const receiver = `require('http').createServer((q, r) => { let b = ''; q.on('data', (d) => (b += d)); q.on('end', () => { require('fs').appendFileSync(${JSON.stringify(news)}, b + '\\n'); r.end() }) }).listen(9799)`
  await world.panda.spawn('news', [process.execPath, '-e', receiver], {
    ready: { tcp: `${world.panda.lanAddress}:9799` },
  })
  writeFileSync(join(world.panda.home, '.config/onehop/webhook'), 'http://127.0.0.1:9799/hook\n')
  writeFileSync(
    meshFile,
    read(meshFile).replace(
      'drift: {',
      'drift: { repair: [tag-edited], webhookFile: ~/.config/onehop/webhook, zone: Europe/Paris,',
    ),
  )
  // What the schedule itself does: the engine has it, in the zone of mesh.yaml, once the worker has read that.
  await world.server('worker').stop()
  await world.server('worker').start()
  await waitFor('the schedule', async () =>
    JSON.stringify(await engine('{ functions { triggers { type value } } }')).includes(
      'TZ=Europe/Paris */15 * * * *',
    ),
  )
  const tags = (value: string) => ['-n', 'joelclaw', 'annotate', 'service', 'typesense', '--overwrite', value]
  await world.kubectl(tags('tailscale.com/tags=tag:other'))
  const told = () =>
    (existsSync(news) ? read(news).trim().split('\n') : []).map(
      (line) => JSON.parse(line) as { detected: Array<{ kind: string }>; resolved: Array<{ kind: string }> },
    )
  await sendEvent('drift-check-1', 'mesh/drift.check.requested', {})
  await waitFor('the end of it to be told', () => told().some((each) => each.resolved.length > 0))
  expect((await look()).ids).toEqual([])
  await sendEvent('drift-check-2', 'mesh/drift.check.requested', {})
  await waitFor('the second look', () => requestOf('drift-check-2')?.state === 'completed')
  expect(told().flatMap((each) => each.detected.map(({ kind }) => kind))).toEqual(['tag-edited'])
  expect(told().flatMap((each) => each.resolved.map(({ kind }) => kind))).toEqual(['tag-edited'])
  await world.server('news').kill()
})

test('a Service that was deleted, or made again, is found and left to a person', async () => {
  await world.kubectl(['-n', 'joelclaw', 'delete', 'service', 'typesense', '--wait'])
  expect((await look()).ids).toEqual(['service-gone typesense'])
  await world.applySeed(['typesense'])
  const { ids, found } = await look()
  expect(ids).toEqual(['service-gone typesense'])
  expect(found.drifts[0]).not.toHaveProperty('repair')
})
