import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { onehopProgram } from '../../sandbox/worker.ts'
import type { Mesh } from '../../src/plan/mesh.ts'
import { isClusterService, parseMesh } from '../../src/plan/mesh.ts'
import { caddyfile, meshFile, onehop, read, world, writesByUs } from './panda.ts'

/** What a move depends on, by service: which one it is, its ports, how they are asked, its routes. */
const inventoryOf = (mesh: Mesh) =>
  Object.fromEntries(
    mesh.services.map((each) => {
      if (!isClusterService(each)) return [each.name, { host: each.host, keep: each.keep }]
      const { service, ports, routes, engine, probe } = each
      const kind = typeof probe === 'string' ? probe : 'http'
      return [
        each.name,
        { service, ports: ports.map(({ port, portMap }) => ({ port, portMap })), routes, engine, kind },
      ]
    }),
  )

const scanned = join(world.panda.home, 'scanned.yaml')
const result = ({ envelope }: Awaited<ReturnType<typeof onehop>>) =>
  envelope.result as unknown as { yaml: string; questions: string[]; unread: unknown[] }
type Planned = {
  problems: Array<{ code: string }>
  services: Array<{ name: string; problems: Array<{ code: string }> }>
  blocked: number
}
const codes = ({ problems, services }: Planned) => ({
  all: problems.map(({ code }) => code),
  services: Object.fromEntries(
    services.map((each) => [each.name, each.problems.map(({ code }) => code)]).sort(),
  ),
})

let yaml: string
let questions: string[]
let before: { writes: ReturnType<typeof writesByUs>; caddyfile: string }

beforeAll(async () => {
  before = { writes: writesByUs(), caddyfile: read(caddyfile) }
  const answer = await onehop('scan', '--out', scanned)
  expect(answer.envelope.error).toBeNull()
  expect(result(answer).unread).toEqual([])
  yaml = read(scanned)
  questions = result(answer).questions
})
afterAll(() => rmSync(scanned, { force: true }))

describe('a scan of panda', () => {
  test('finds what a person wrote down: six Services and a process, ten client ports, the PDS, the engine, the routes', () => {
    const [found, wanted] = [parseMesh(yaml, scanned), parseMesh(read(meshFile), meshFile)]
    expect(inventoryOf(found)).toEqual(inventoryOf(wanted))
    const services = found.services.filter(isClusterService)
    expect(services).toHaveLength(6)
    expect(services.flatMap(({ ports }) => ports).length + (found.services.length - services.length)).toBe(10)
    expect(services.find(({ name }) => name === 'pds')?.ports).toMatchObject([{ port: 3000, portMap: 9627 }])
    expect(services.filter(({ engine }) => engine).map(({ name }) => name)).toEqual(['inngest'])
    const { kubernetes, tailnet, caddy, engine } = found
    expect({ kubernetes, tailnet, caddy: caddy.file, engine: engine.url }).toEqual({
      kubernetes: wanted.kubernetes,
      tailnet: wanted.tailnet,
      caddy: wanted.caddy.file,
      engine: wanted.engine.url,
    })
  })

  test('asks what it cannot decide: the Funnel fallback, the route to nowhere, who may reach the services', () => {
    const asked = questions.join('\n')
    expect(asked).toMatch(/http:\/\/localhost:8443 \(line \d+\) also leads to localhost:8288/)
    expect(asked).toContain('localhost:3838, where nothing listens now')
    expect(yaml).toContain('more machines in allow: clanker-001')
    expect(yaml).toContain('owned by Helm release pds')
  })

  test('writes nothing but its file, holds no secret, and overwrites nothing', async () => {
    expect(writesByUs()).toEqual(before.writes)
    expect(read(caddyfile)).toBe(before.caddyfile)
    for (const name of [
      'onehop-client-secret',
      'operator-client-secret',
      'inngest-event-key',
      'inngest-signing-key',
    ])
      expect(yaml).not.toContain(read(join(world.panda.home, '.config/onehop', name)).trim())
    const again = await onehop('scan', '--out', scanned)
    expect({ exitCode: again.exitCode, code: again.envelope.error?.code }).toEqual({
      exitCode: 2,
      code: 'scan-file-exists',
    })
    expect(read(scanned)).toBe(yaml)
  })

  test('on stdout is the file and nothing else', async () => {
    const [node = '', ...program] = onehopProgram
    const { stdout, stderr } = await world.panda.run(node, [...program, 'scan'])
    expect(`${stdout}\n`).toBe(yaml)
    expect(stderr).toContain('services: 6, processes of this machine: 1, ports: 10, routes: 4')
  })

  test('of a namespace without services is refused with a code, and shows what it read', async () => {
    const { exitCode, envelope } = await onehop('scan', '--namespace', 'kube-system')
    expect({ exitCode, code: envelope.error?.code }).toEqual({ exitCode: 1, code: 'scan-nothing-found' })
    expect((envelope.result as unknown as { yaml: string }).yaml).toContain('namespace kube-system')
  })

  test('of a cluster that does not answer is refused with a code', async () => {
    const kubeconfig = join(world.panda.home, 'nobody.kubeconfig')
    const text = read(join(world.panda.home, '.kube/config'))
    writeFileSync(kubeconfig, text.replace(world.apiServer, 'https://127.0.0.1:1'))
    const { exitCode, envelope } = await onehop('scan', '--kubeconfig', kubeconfig)
    rmSync(kubeconfig)
    expect({ exitCode, code: envelope.error?.code }).toEqual({ exitCode: 1, code: 'kubernetes-unreachable' })
  })
})

test('the plan of what was scanned has nothing in its way that the plan of mesh.yaml has not', async () => {
  // What no look at panda can tell: that the sandbox has a control server and a chart of its own.
  const [document, seed] = [parseDocument(yaml), parseDocument(read(meshFile))]
  for (const path of [
    ['tailscale', 'api'],
    ['operator', 'chart'],
    ['operator', 'values'],
  ])
    document.setIn(path, seed.getIn(path))
  document.deleteIn(['operator', 'repository'])
  writeFileSync(scanned, document.toString())
  const plan = async (file: string) =>
    (await onehop('plan', '--mesh', file)).envelope.result as unknown as Planned
  const [ours, theirs] = [await plan(scanned), await plan(meshFile)]
  expect(codes(ours)).toEqual(codes(theirs))
  expect(ours.blocked).toBe(0)
})
