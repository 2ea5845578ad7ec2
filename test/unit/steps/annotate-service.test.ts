import { expect, test } from 'vitest'
import { createCluster } from '../../../simulated/cluster.ts'
import { undisturbed } from '../../../simulated/effect.ts'
import { createMemoryKubernetes } from '../../../simulated/kubernetes.ts'
import { annotateService } from '../../../src/steps/annotate-service.ts'
import type { Systems } from '../../../src/systems/systems.ts'

const service = {
  ...{ namespace: 'apps', object: 'redis', service: 'apps/redis', name: 'redis' },
  ...{ hostname: 'redis', tag: 'tag:svc-redis' },
} as Parameters<typeof annotateService.read>[1]

/** A Service that a person had tagged, and that we have exposed. */
async function exposed() {
  const cluster = createCluster({
    random: undisturbed.random,
    tailnet: 'sim.ts.net',
    changed: () => undefined,
  })
  const tags = { value: 'tag:old', owners: ['kubectl-edit'] }
  cluster.add({
    ...{ namespace: 'apps', name: 'redis', clusterIP: '10.96.0.1', finalizers: [], ports: [] },
    annotations: new Map([['tailscale.com/tags', tags]]),
  })
  const object = cluster.objects.get('apps/redis')
  if (!object) throw new Error('no redis')
  const kubernetes = createMemoryKubernetes({
    ...{ effect: undisturbed.effect, cluster, by: { name: 'test', alive: true } },
    written: () => undefined,
  })
  const systems = { kubernetes } as Systems
  const before = await annotateService.read(systems, service)
  const target = annotateService.target(before, service)
  await annotateService.write(systems, { from: before, to: target, undo: false, service: 'redis' })
  const values = () => Object.fromEntries([...object.annotations].map(([key, { value }]) => [key, value]))
  const undo = { from: target, to: before, undo: true, service: 'redis' }
  return {
    cluster,
    object,
    systems,
    undo,
    values,
    owners: () => object.annotations.get('tailscale.com/tags')?.owners,
  }
}

test("an undo gives a person's value back under its owner, and leaves nothing of ours", async () => {
  const { systems, undo, values, owners } = await exposed()
  expect(values()).toMatchObject({ 'tailscale.com/expose': 'true', 'tailscale.com/tags': 'tag:svc-redis' })
  await annotateService.write(systems, undo)
  expect(values()).toEqual({ 'tailscale.com/tags': 'tag:old' })
  expect(owners()).toEqual(['kubectl-edit'])
})

test('what somebody else has changed since is shown and left as a whole, until it is forced', async () => {
  const { cluster, object, systems, undo, values, owners } = await exposed()
  cluster.merge(object, 'kubectl-edit', { 'tailscale.com/hostname': 'cache' })
  const theirs = values()
  await expect(annotateService.write(systems, undo)).rejects.toMatchObject({
    code: 'changed-by-others',
    message: expect.stringContaining('tailscale.com/hostname=cache'),
  })
  expect(values()).toEqual(theirs)
  await annotateService.write(systems, { ...undo, force: true })
  expect(values()).toMatchObject({ 'tailscale.com/tags': 'tag:old' })
  expect(values()).not.toHaveProperty(['tailscale.com/expose'])
  expect(owners()).toEqual(['kubectl-edit'])
})
