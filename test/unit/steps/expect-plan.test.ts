import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { migrate } from '../../../src/functions/migrate.ts'
import { describeWorld, hashOfWorld } from '../../../src/plan/describe-world.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import type { WholeSnapshot } from '../../../src/plan/snapshot.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { expectPlan } from '../../../src/steps/expect-plan.ts'
import type { Step } from '../../../src/steps/step.ts'

const read = (name: string) =>
  readFileSync(join(import.meta.dirname, '../../../examples/panda', name), 'utf8')
const mesh = parseMesh(read('mesh.yaml'), '/home/joel/mesh.yaml')
const recorded = JSON.parse(read('snapshot.json')) as WholeSnapshot
const services = ['typesense']

/** A world that answers as panda did when it was recorded; `type` is that of Typesense's Service. */
function setupOf({ type = 'NodePort', away = false } = {}): Setup {
  const { cluster, tailnet, policy, caddy } = recorded
  const listed = cluster.services.map((each) => (each.name === 'typesense' ? { ...each, type } : each))
  const unreachable = async () => {
    throw new OnehopError('caddy-missing', { bin: 'caddy', message: 'not here' })
  }
  const systems = {
    kubernetes: {
      ...{ clusterId: async () => cluster.id, services: async () => listed },
      ...{ namespaces: async () => cluster.namespaces, readyPorts: async () => cluster.readyPorts },
      ...{ proxies: async () => cluster.proxies, operator: async () => undefined },
    },
    tailscale: {
      devices: async () => tailnet.devices,
      policy: async () => ({ text: policy, etag: '"1"' }),
      peers: async () => ({}),
    },
    caddy: {
      version: away ? unreachable : async () => caddy.version,
      readFile: async () => ({ text: caddy.text }),
      compareFile: async () => ({ adapted: caddy.adapted, variables: [] }),
      running: async () => caddy.running,
    },
  }
  const journal = { list: async () => [], closeToAborts: async () => undefined }
  const work = { mesh, journal, systems } as unknown as Work
  return { mesh: async () => mesh, journal: async () => work.journal, work: async () => work }
}

const hashNow = hashOfWorld(describeWorld(mesh, { ...recorded, journal: [] }, { names: services }), services)

test('the plan that was made of this world is taken', async () => {
  await expect(expectPlan(setupOf(), { services, plan: hashNow })).resolves.toBeUndefined()
})

test('a plan of another world, or of other services, is refused with both hashes', async () => {
  const moved = expect.objectContaining({
    code: 'plan-moved',
    message: expect.stringContaining(hashNow.slice(0, 12)),
  })
  await expect(expectPlan(setupOf({ type: 'ClusterIP' }), { services, plan: hashNow })).rejects.toEqual(moved)
  await expect(expectPlan(setupOf(), { services: undefined, plan: hashNow })).rejects.toEqual(moved)
})

test('a world that cannot be read whole is no world to compare with', async () => {
  await expect(expectPlan(setupOf({ away: true }), { services, plan: hashNow })).rejects.toMatchObject({
    code: 'caddy-missing',
  })
})

test('a migration by a plan that is outdated ends in its first step', async () => {
  const steps: string[] = []
  const step: Step = {
    run: (id, work) => {
      steps.push(id)
      return work().then(
        (value) => ({ ok: true as const, value }),
        (thrown: OnehopError) => ({ ok: false as const, failure: thrown.toJSON() }),
      )
    },
    sleep: async () => undefined,
    sendEvent: async () => undefined,
  }
  const moving = { setup: setupOf({ type: 'ClusterIP' }), request: 'r', run: 'r', services, plan: hashNow }
  expect(await migrate(step, moving)).toMatchObject({ state: 'refused', failure: { code: 'plan-moved' } })
  expect(steps).toEqual(['plan', 'abort: look'])
})
