import { expect, test } from 'vitest'
import type { Systems } from '../../src/systems/systems.ts'

/**
 * What onehop needs of a cluster to install the operator and to remove it: namespace, Secret, Helm release, ProxyClass, and
 * the operator's own device. `make` gives a cluster and a tailnet without any of them, and how to install it there.
 */
export function operatorContract(make: () => Promise<Made>): void {
  const proxyClass = 'onehop'
  const none = { namespace: 'none', secret: 'none', proxyClass: 'none', running: false, kindsGoing: false }

  test('without the operator there is nothing of it, and its kinds are unknown', async () => {
    await using made = await make()
    const { kubernetes, operatorObjects, namespace, client } = made
    expect(await kubernetes.operator(namespace)).toBeUndefined()
    expect(await kubernetes.proxyClassReady(proxyClass)).toBeUndefined()
    expect(await kubernetes.isOurProxyClass(proxyClass)).toBe(false)
    expect(await kubernetes.oauthSecretState(namespace, client)).toBe('gone')
    expect(await operatorObjects.look({ namespace, proxyClass })).toEqual({ ...none, deviceIds: [] })
    expect(await operatorObjects.users({ namespace, proxyClass })).toEqual([])
    const refused = expect.objectContaining({ code: 'kubernetes-refused' })
    await expect(kubernetes.applyProxyClass(proxyClass)).rejects.toEqual(refused)
    await expect(kubernetes.applyOAuthSecret(namespace, client)).rejects.toEqual(refused)
  })

  test('what is not there is removed without a failure', async () => {
    await using made = await make()
    const { operatorObjects, helm, release, namespace } = made
    await operatorObjects.deleteProxyClass(proxyClass)
    await helm.uninstall({ release, namespace })
    await operatorObjects.deleteSecrets(namespace)
    await operatorObjects.deleteNamespace(namespace)
  })

  test("a namespace that was there is labelled and stays its maker's; another's OAuth Secret is refused", async () => {
    await using made = await make()
    const { kubernetes, operatorObjects, client } = made
    const theirs = await made.makeNamespace()
    await kubernetes.applyNamespace(theirs)
    expect((await kubernetes.namespaces())[theirs]).toBe('privileged')
    expect(await operatorObjects.look({ namespace: theirs, proxyClass })).toMatchObject({
      namespace: 'other',
    })
    await made.makeOAuthSecret(theirs)
    const apply = kubernetes.applyOAuthSecret(theirs, client)
    await expect(apply).rejects.toMatchObject({ code: 'secret-not-ours' })
    expect(await operatorObjects.look({ namespace: theirs, proxyClass })).toMatchObject({ secret: 'other' })
    expect(await operatorObjects.contents(theirs)).toEqual(['Secret operator-oauth'])
  })

  test('it is installed part by part, joins the tailnet, and goes part by part', async () => {
    await using made = await make()
    const { kubernetes, helm, operatorObjects, tailscale, operatorClient, client, poll } = made
    const { namespace, release, chart, version, values } = made
    const look = () => operatorObjects.look({ namespace, proxyClass })
    const device = async () =>
      (await tailscale.devices()).find(({ tags }) => tags.includes('tag:k8s-operator'))

    await kubernetes.applyNamespace(namespace)
    expect((await kubernetes.namespaces())[namespace]).toBe('privileged')
    await kubernetes.applyOAuthSecret(namespace, client)
    expect(await kubernetes.oauthSecretState(namespace, client)).toBe('same')
    expect(await kubernetes.oauthSecretState(namespace, { ...client, secret: 'another' })).toBe('changed')
    expect(await look()).toMatchObject({ namespace: 'ours', secret: 'ours', running: false })

    await helm.upgradeInstall({ release, namespace, chart, version, values })
    // The API server knows a new kind a moment later.
    await poll(() =>
      kubernetes.applyProxyClass(proxyClass).then(
        () => true,
        () => false,
      ),
    ).toBe(true)
    await poll(() => kubernetes.operator(namespace)).toMatchObject({ version, ours: true, running: true })
    await poll(() => kubernetes.proxyClassReady(proxyClass)).toBe(true)
    expect(await kubernetes.isOurProxyClass(proxyClass)).toBe(true)
    await poll(device).toMatchObject({ hostname: 'tailscale-operator', online: true, lastSeen: 'now' })
    const { id = '' } = (await device()) ?? {}
    await poll(look).toEqual({
      ...{ namespace: 'ours', secret: 'ours', proxyClass: 'ours' },
      ...{ running: true, kindsGoing: false, deviceIds: [id] },
    })
    expect(await operatorObjects.users({ namespace, proxyClass })).toEqual([])
    expect(await operatorObjects.users({ namespace, proxyClass: 'other' })).toEqual([
      `ProxyClass ${proxyClass}`,
    ])
    const contents = await operatorObjects.contents(namespace)
    for (const each of ['Deployment operator', 'Secret operator-oauth', 'Secret operator'])
      expect(contents).toContain(each)

    await operatorObjects.deleteProxyClass(proxyClass)
    await poll(() => kubernetes.isOurProxyClass(proxyClass)).toBe(false)
    await helm.uninstall({ release, namespace })
    expect(await kubernetes.operator(namespace)).toBeUndefined()
    await poll(look).toMatchObject({ running: false, kindsGoing: false, secret: 'ours', deviceIds: [id] })
    expect(await kubernetes.proxyClassReady(proxyClass)).toBeUndefined()
    // Helm does not know the operator's device, which only goes offline.
    await poll(device).toMatchObject({ id, online: false })
    await operatorClient.deleteDevice(id)
    expect(await device()).toBeUndefined()
    await operatorObjects.deleteSecrets(namespace)
    expect(await look()).toMatchObject({ secret: 'none', deviceIds: [] })
    await poll(() => operatorObjects.contents(namespace)).toEqual([])
    await operatorObjects.deleteNamespace(namespace)
    await poll(look).toEqual({ ...none, deviceIds: [] })
  })
}

type Made = Pick<Systems, 'kubernetes' | 'helm' | 'operatorObjects' | 'tailscale' | 'operatorClient'> & {
  /** Where the operator is to be, and how Helm installs it. */
  namespace: string
  release: string
  chart: string
  version: string
  values: Record<string, unknown>
  /** The operator's OAuth client. */
  client: { id: string; secret: string }
  /** Makes another namespace by hand. @returns its name */
  makeNamespace(): Promise<string>
  makeOAuthSecret(namespace: string): Promise<void>
  /** `expect.poll` with the patience that this cluster needs. */
  poll: <T>(look: () => Promise<T>) => ReturnType<typeof expect.poll<T>>
} & AsyncDisposable
