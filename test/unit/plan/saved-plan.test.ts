import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { describeWorld, hashOfWorld } from '../../../src/plan/describe-world.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import { planMesh } from '../../../src/plan/plan.ts'
import { openPlan, refuseForeign, savePlan } from '../../../src/plan/saved-plan.ts'

const read = (name: string) =>
  readFileSync(join(import.meta.dirname, '../../../examples/panda', name), 'utf8')
const mesh = parseMesh(read('mesh.yaml'), '/home/joel/mesh.yaml')
const snapshot = JSON.parse(read('snapshot.json'))
const names = ['typesense']
const world = describeWorld(mesh, snapshot, { names })
const place = { mesh: '/home/joel/mesh.yaml', tailnet: mesh.tailnet }
const saved = savePlan({
  ...{ madeAt: '2026-11-25T20:00:00.000Z', services: names, world, ...place },
  plan: planMesh(mesh, snapshot, names),
})
const changed = (change: (plan: Record<string, unknown>) => unknown) => {
  const plan = JSON.parse(saved.text) as Record<string, unknown>
  change(plan)
  return JSON.stringify(plan)
}

test('a plan comes back from its file as it was, also when the file was formatted anew', () => {
  const plan = openPlan(saved.text, 'plan.json')
  expect(plan).toMatchObject({ services: names, world, hash: hashOfWorld(world, names), ...place })
  expect(plan.changes).toContainEqual('+ Service joelclaw/typesense: tailscale.com/expose: true')
  expect(
    openPlan(
      changed(() => undefined),
      'plan.json',
    ),
  ).toEqual(plan)
})

describe('what onehop has not written so is refused', () => {
  const cases: Array<[what: string, text: string, code: string]> = [
    ['a torn copy', saved.text.slice(0, -20), 'plan-invalid'],
    ['another file', '{"services": {}}', 'plan-invalid'],
    ['an empty one', '', 'plan-invalid'],
    ['one of a later format', changed((plan) => Object.assign(plan, { version: 2, more: {} })), 'plan-newer'],
    ['another service', changed((plan) => Object.assign(plan, { services: ['redis'] })), 'plan-invalid'],
    ['another hash', changed((plan) => Object.assign(plan, { hash: '0'.repeat(64) })), 'plan-invalid'],
    ['another mesh.yaml', changed((plan) => Object.assign(plan, { mesh: '/mesh.yaml' })), 'plan-invalid'],
    ['a change that is shown', changed((plan) => Object.assign(plan, { changes: [] })), 'plan-invalid'],
    ['a key more', changed((plan) => Object.assign(plan, { force: true })), 'plan-invalid'],
    ['a fact', changed((plan) => Object.assign(plan.world as object, { facts: {} })), 'plan-invalid'],
  ]
  test.each(cases)('%s', (_, text, code) => {
    expect(() => openPlan(text, 'plan.json')).toThrow(expect.objectContaining({ code }))
  })
})

describe('a plan of another place is refused, and the place is named', () => {
  const plan = openPlan(saved.text, 'plan.json')
  const here = { file: 'plan.json', world, ...place }
  const elsewhere = { ...world, facts: { ...world.facts, cluster: { id: 'another' } } }
  test('this one is taken', () => {
    expect(() => refuseForeign(plan, here)).not.toThrow()
  })
  test.for([
    [
      { mesh: '/tmp/mesh.yaml' },
      'a plan for the mesh.yaml /home/joel/mesh.yaml, and this one is /tmp/mesh.yaml',
    ],
    [{ tailnet: 'b.ts.net' }, 'for the tailnet tail7af24.ts.net, and this one is b.ts.net'],
    [{ world: elsewhere }, `for the cluster ${snapshot.cluster.id}, and this one is another`],
  ] as const)('%j', ([other, message]) => {
    expect(() => refuseForeign(plan, { ...here, ...other })).toThrow(
      expect.objectContaining({ code: 'plan-foreign', message: expect.stringContaining(message) }),
    )
  })
})
