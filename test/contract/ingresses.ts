import { expect, test } from 'vitest'
import type { Systems } from '../../src/systems/systems.ts'

/** What onehop needs of Ingresses. `make` gives a namespace without any, in a cluster in which no operator looks at them. */
export function ingressesContract(
  make: () => Promise<{ ingresses: Systems['ingresses']; namespace: string } & AsyncDisposable>,
): void {
  const wish = { hostname: 'files', tag: 'tag:svc-files', service: 'files', port: 80 }
  const conflict = expect.objectContaining({ code: 'kubernetes-conflict' })

  test('what is made is ours, with its wish, and is made once', async () => {
    await using made = await make()
    const { ingresses, namespace } = made
    expect(await ingresses.read(namespace, 'onehop-files')).toBeUndefined()
    await ingresses.create(namespace, 'onehop-files', wish)
    const found = await ingresses.read(namespace, 'onehop-files')
    expect(found).toEqual({
      ...{ namespace, name: 'onehop-files', ours: true, wish, finalizers: [] },
      ...{ uid: expect.any(String), resourceVersion: expect.any(String) },
    })
    await expect(ingresses.create(namespace, 'onehop-files', wish)).rejects.toEqual(conflict)
    expect((await ingresses.list()).filter((each) => each.namespace === namespace)).toEqual([found])
  })

  test('exactly what was read is deleted; what is gone already is no failure', async () => {
    await using made = await make()
    const { ingresses, namespace } = made
    await ingresses.create(namespace, 'onehop-files', wish)
    const first = await ingresses.read(namespace, 'onehop-files')
    if (!first) throw new Error('no Ingress')
    await ingresses.delete(first)
    expect(await ingresses.read(namespace, 'onehop-files')).toBeUndefined()
    await ingresses.delete(first)
    await ingresses.create(namespace, 'onehop-files', { ...wish, port: 81 })
    await expect(ingresses.delete(first)).rejects.toEqual(conflict)
    expect((await ingresses.read(namespace, 'onehop-files'))?.wish).toEqual({ ...wish, port: 81 })
  })
}
