import { expect, test } from 'vitest'
import { type IngressState, ingressService } from '../../../src/steps/ingress-service.ts'
import type { IngressFacts, IngressWish } from '../../../src/systems/ingresses.ts'
import type { Systems } from '../../../src/systems/systems.ts'

const wish: IngressWish = { hostname: 'search', tag: 'tag:svc-search', service: 'typesense', port: 8108 }
const before: IngressState = { namespace: 'apps', name: 'typesense', uid: 'u', ingress: null }
const target: IngressState = { ...before, ingress: { name: 'onehop-search', wish } }

/** A cluster with at most one Ingress. What the real API server makes of it is for test/real. */
function cluster(there?: Partial<IngressFacts>) {
  const done: string[] = []
  let found: IngressFacts | undefined = there && {
    ...{
      namespace: 'apps',
      name: 'onehop-search',
      uid: 'i',
      resourceVersion: '1',
      ours: true,
      finalizers: [],
      wish,
    },
    ...there,
  }
  const ingresses: Partial<Systems['ingresses']> = {
    read: async () => found,
    async create(namespace, name, asked) {
      done.push(`create ${namespace}/${name} for ${asked.hostname}`)
      found = { namespace, name, uid: 'i', resourceVersion: '1', ours: true, finalizers: [], wish: asked }
    },
    async delete({ name, uid }) {
      done.push(`delete ${name} ${uid}`)
      found = undefined
    },
  }
  return { systems: { ingresses } as Systems, done }
}
const apply = { from: before, to: target, service: 'search' }
const undo = { from: target, to: before, service: 'search' }

test('it is made once, and deleted once', async () => {
  const { systems, done } = cluster()
  for (const write of [apply, apply, undo, undo]) await ingressService.write(systems, write)
  expect(done).toEqual(['create apps/onehop-search for search', 'delete onehop-search i'])
})

test("somebody else's is neither taken over nor deleted, not even by force", async () => {
  const { systems, done } = cluster({ ours: false })
  await expect(ingressService.write(systems, apply)).rejects.toMatchObject({ code: 'ingress-taken' })
  await ingressService.write(systems, { ...undo, force: true })
  expect(done).toEqual([])
})

test('what somebody has changed in ours is told, and goes only by force', async () => {
  const { systems, done } = cluster({ wish: { ...wish, port: 9 } })
  for (const write of [apply, undo])
    await expect(ingressService.write(systems, write)).rejects.toMatchObject({
      code: 'changed-by-others',
      message: expect.stringContaining('port=9'),
    })
  expect(done).toEqual([])
  await ingressService.write(systems, { ...undo, force: true })
  expect(done).toEqual(['delete onehop-search i'])
})
