import { expect, test } from 'vitest'
import type { ServiceFacts, ServiceTypeFacts } from '../../src/systems/kubernetes-facts.ts'
import type { Systems } from '../../src/systems/systems.ts'

/**
 * What a Service's annotations and type need of a cluster: owners, and versions that refuse a late write. `make` gives a
 * cluster with one Service without pods, a NodePort where it is given the number, and a way for somebody else to edit it.
 */
export function kubernetesContract(make: (nodePort?: number) => Promise<Made>): void {
  // Not 'true': an operator would write to the Service as well, and its device would take a name.
  const expose = {
    'tailscale.com/expose': 'false',
    'tailscale.com/hostname': 'redis',
    'tailscale.com/tags': 'tag:svc-redis',
  }
  const none = Object.fromEntries(Object.keys(expose).map((key) => [key, null]))
  const ours = (value: string) => ({ value, manager: 'onehop' })
  const conflict = expect.objectContaining({ code: 'kubernetes-conflict' })
  const read = async ({ kubernetes, namespace, name }: Made): Promise<ServiceFacts> => {
    const facts = await kubernetes.service(namespace, name)
    if (!facts) throw new Error(`no Service ${namespace}/${name}`)
    return facts
  }
  const typeOf = async ({ kubernetes, namespace, name }: Made): Promise<ServiceTypeFacts> => {
    const facts = await kubernetes.serviceType(namespace, name)
    if (!facts) throw new Error(`no Service ${namespace}/${name}`)
    return facts
  }

  test('what we apply is ours, and withdrawn it is gone', async () => {
    await using made = await make()
    await made.kubernetes.applyAnnotations(await read(made), expose)
    const applied = await read(made)
    expect(applied.annotations['tailscale.com/hostname']).toEqual(ours('redis'))
    expect(applied.annotations['tailscale.com/expose']).toEqual(ours('false'))
    await made.kubernetes.restoreAnnotations(applied, none)
    const { annotations } = await read(made)
    expect(Object.keys(annotations).filter((key) => key in expose)).toEqual([])
  })

  test("another's value comes back under its owner", async () => {
    await using made = await make()
    await made.edit({ 'tailscale.com/tags': 'tag:old' })
    const before = await read(made)
    expect(before.annotations['tailscale.com/tags']).toEqual({ value: 'tag:old', manager: made.person })
    await made.kubernetes.applyAnnotations(before, expose)
    const applied = await read(made)
    expect(applied.annotations['tailscale.com/tags']).toEqual(ours('tag:svc-redis'))
    const owned = { ...none, 'tailscale.com/tags': { value: 'tag:old', manager: made.person } }
    await made.kubernetes.restoreAnnotations(applied, owned)
    expect((await read(made)).annotations).toEqual(before.annotations)
  })

  test("another's value that is ours as well stays theirs", async () => {
    await using made = await make()
    await made.edit({ 'tailscale.com/hostname': 'redis' })
    const before = await read(made)
    await made.kubernetes.applyAnnotations(before, expose)
    const applied = await read(made)
    expect(applied.annotations['tailscale.com/hostname']).toEqual({ value: 'redis', manager: made.person })
    await made.kubernetes.restoreAnnotations(applied, none)
    expect((await read(made)).annotations).toEqual(before.annotations)
  })

  test('a write for an earlier version is refused, and so is one for another object of that name', async () => {
    await using made = await make()
    const stale = await read(made)
    await made.edit({ 'example.com/note': 'by hand' })
    await expect(made.kubernetes.applyAnnotations(stale, expose)).rejects.toEqual(conflict)
    const { kubernetes } = made
    const recreated = { ...(await read(made)), uid: '00000000-0000-4000-8000-000000000000' }
    // The API server calls a uid of another object an invalid field, and no conflict: looking again would not help.
    const refused = expect.objectContaining({ code: 'kubernetes-refused' })
    await expect(kubernetes.applyAnnotations(recreated, expose)).rejects.toEqual(refused)
    await expect(kubernetes.restoreAnnotations(recreated, none)).rejects.toEqual(refused)
    expect((await read(made)).annotations).toEqual(stale.annotations)
  })

  test('a fence leaves everything as it is, and refuses what was written for the version before', async () => {
    await using made = await make()
    const before = await read(made)
    await made.kubernetes.fence(before)
    const after = await read(made)
    expect(after.annotations).toEqual(before.annotations)
    expect(after.resourceVersion).not.toBe(before.resourceVersion)
    await expect(made.kubernetes.applyAnnotations(before, expose)).rejects.toEqual(conflict)
  })

  test('a type that is already there stays, and putting it back refuses what was written for the version before', async () => {
    await using made = await make()
    const { kubernetes } = made
    const before = await typeOf(made)
    await kubernetes.restoreServiceType(before, before)
    expect(await typeOf(made)).toEqual({ ...before, resourceVersion: expect.any(String) })
    await expect(kubernetes.setServiceType(before, 'ClusterIP')).rejects.toEqual(conflict)
  })

  test('a NodePort that becomes a ClusterIP loses its number, and gets it back under its owner', async () => {
    await using made = await make(31_501)
    const { kubernetes, maker } = made
    const before = await typeOf(made)
    const ports = [{ name: '80', port: 80, protocol: 'TCP', nodePort: 31_501 }]
    expect(before).toMatchObject({
      type: 'NodePort',
      manager: maker,
      externalTrafficPolicy: 'Cluster',
      ports,
    })
    await kubernetes.setServiceType(before, 'ClusterIP')
    const { namespace, name, uid } = before
    expect(await typeOf(made)).toEqual({
      ...{ namespace, name, uid, resourceVersion: expect.any(String), type: 'ClusterIP' },
      manager: 'onehop-retire',
      ports: [{ name: '80', port: 80, protocol: 'TCP' }],
    })
    expect(await read(made)).toMatchObject({
      ...{ type: 'ClusterIP', typeManager: 'onehop-retire', ports: [{ name: '80', port: 80 }] },
    })
    await kubernetes.restoreServiceType(await typeOf(made), before)
    expect(await typeOf(made)).toEqual({ ...before, resourceVersion: expect.any(String) })
    expect(await read(made)).toMatchObject({
      ...{ type: 'NodePort', typeManager: maker, ports: [{ name: '80', port: 80, nodePort: 31_501 }] },
    })
  })

  test('a number that another Service has taken meanwhile is refused by its name, and nothing is changed', async () => {
    await using made = await make(31_502)
    const { kubernetes, namespace } = made
    const before = await typeOf(made)
    await kubernetes.setServiceType(before, 'ClusterIP')
    const after = await typeOf(made)
    const holder = await made.takeNodePort(31_502)
    await expect(kubernetes.restoreServiceType(after, before)).rejects.toMatchObject({
      code: 'nodeport-taken',
      message: expect.stringContaining(`${namespace}/${holder}`),
    })
    expect(await typeOf(made)).toEqual(after)
  })

  test('a Service without pods has no ready port', async () => {
    await using made = await make()
    expect(await made.kubernetes.readyPorts()).not.toHaveProperty([`${made.namespace}/${made.name}`])
  })

  test('what changes nothing makes no new version', async () => {
    await using made = await make()
    await made.kubernetes.applyAnnotations(await read(made), expose)
    const applied = await read(made)
    await made.kubernetes.applyAnnotations(applied, expose)
    expect(await read(made)).toEqual(applied)
  })

  test('what is not there is undefined, and what others wrote meanwhile survives', async () => {
    await using made = await make()
    expect(await made.kubernetes.service(made.namespace, 'no-such-service')).toBeUndefined()
    await made.kubernetes.applyAnnotations(await read(made), expose)
    await made.edit({ 'tailscale.com/proxy-class': 'by-hand' })
    await made.kubernetes.restoreAnnotations(await read(made), none)
    expect((await read(made)).annotations['tailscale.com/proxy-class']).toEqual({
      value: 'by-hand',
      manager: made.person,
    })
  })
}

type Made = {
  kubernetes: Systems['kubernetes']
  namespace: string
  name: string
  /** The field manager that made the Service, and that of another editor. */
  maker: string
  person: string
  /** Makes another Service of the namespace, with that node port. @returns its name */
  takeNodePort(nodePort: number): Promise<string>
  edit(annotations: Record<string, string>): Promise<void>
} & AsyncDisposable
