import { expect, test } from 'vitest'
import { exposeAnnotations } from '../../src/plan/paths.ts'
import type { Systems } from '../../src/systems/systems.ts'

/**
 * What onehop needs of a tailnet: its devices and their names, what this machine knows of its peers, what becomes of a
 * Service that is exposed, and what an OAuth client may do. `make` gives a cluster and a tailnet with an operator that runs,
 * and a policy in which this machine may reach tag:svc-contract, which the operator may give, and tag:svc-unowned, which it
 * may not.
 *
 * The devices, names and peers of the sandbox are Headscale's and tailscaled's own; the API in front of them is a stand-in
 * (sandbox/tailscale-api.ts), whose answers about keys and devices were read from Tailscale's clients and documentation.
 */
export function tailnetContract(make: () => Promise<Made>): void {
  const tag = 'tag:svc-contract'
  const none = { 'tailscale.com/expose': null, 'tailscale.com/hostname': null, 'tailscale.com/tags': null }
  const refused = expect.objectContaining({ code: 'tailscale-refused' })
  const annotate = async ({ kubernetes }: Made, [namespace, name]: Service, hostname: string, its = tag) => {
    const facts = await kubernetes.service(namespace, name)
    if (!facts) throw new Error(`no Service ${namespace}/${name}`)
    await kubernetes.applyAnnotations(facts, exposeAnnotations({ hostname, tag: its }))
  }
  const withdraw = async ({ kubernetes, poll }: Made, [namespace, name]: Service) => {
    const facts = await kubernetes.service(namespace, name)
    if (facts) await kubernetes.restoreAnnotations(facts, none)
    await poll(async () => (await kubernetes.service(namespace, name))?.finalizers).toEqual([])
  }
  const proxyOf = async ({ kubernetes, operatorNamespace }: Made, service: Service) =>
    (await kubernetes.proxies(operatorNamespace))[service.join('/')]
  const devicesOf = async ({ tailscale }: Made, hostname: string) =>
    (await tailscale.devices()).filter((each) => each.hostname === hostname)

  test('every machine is a device under its full name; those that this one can reach are its peers', async () => {
    await using made = await make()
    const { tailscale, tailnet, machine, neighbour } = made
    const devices = await tailscale.devices()
    for (const name of [machine, neighbour]) {
      const found = devices.find((each) => each.name === `${name}.${tailnet}`)
      expect(found).toMatchObject({ hostname: name, tags: [], online: true, lastSeen: 'now' })
      expect(found?.addresses[0]).toMatch(/^100\./)
    }
    const peers = await tailscale.peers()
    expect(peers).not.toHaveProperty([`${machine}.${tailnet}`])
    expect(peers[`${neighbour}.${tailnet}`]).toMatchObject({ reachable: true })
  })

  test('a Service that is exposed is a device with its name and tag; no longer exposed, all of it goes', async () => {
    await using made = await make()
    const { kubernetes, tailscale, tailnet, poll } = made
    const service = await made.makeService()
    await annotate(made, service, 'one')
    const name = `one.${tailnet}`
    await poll(() => proxyOf(made, service)).toMatchObject({ fqdn: name, current: true })
    const [device, ...others] = await devicesOf(made, 'one')
    expect(others).toEqual([])
    expect(device).toMatchObject({ name, tags: [tag], online: true })
    const proxy = await proxyOf(made, service)
    const facts = await kubernetes.service(...service)
    expect(proxy).toEqual({
      ...{ fqdn: name, deviceId: device?.id, destination: facts?.clusterIP, current: true },
      addresses: device?.addresses,
    })
    expect(facts?.finalizers).toEqual(['tailscale.com/finalizer'])
    await poll(async () => (await tailscale.peers())[name]).toMatchObject({
      ...{ addresses: device?.addresses, reachable: true },
    })

    await withdraw(made, service)
    expect(await proxyOf(made, service)).toBeUndefined()
    expect(await devicesOf(made, 'one')).toEqual([])
    await poll(async () => Object.keys(await tailscale.peers())).not.toContain(name)
  })

  test('who asks for a name that is taken gets it with a number; both keep the name they asked for', async () => {
    await using made = await make()
    const { tailnet, poll } = made
    const [first, second] = [await made.makeService(), await made.makeService()]
    await annotate(made, first, 'twice')
    await poll(() => proxyOf(made, first)).toMatchObject({ fqdn: `twice.${tailnet}` })
    await annotate(made, second, 'twice')
    await poll(() => proxyOf(made, second)).toMatchObject({ fqdn: `twice-1.${tailnet}` })
    expect((await devicesOf(made, 'twice')).map(({ name }) => name).sort()).toEqual([
      `twice-1.${tailnet}`,
      `twice.${tailnet}`,
    ])
    await withdraw(made, first)
    await withdraw(made, second)
  })

  test('a tag that the operator may not give keeps the device away', async () => {
    await using made = await make()
    const { kubernetes, poll } = made
    const service = await made.makeService()
    await annotate(made, service, 'unowned', 'tag:svc-unowned')
    await poll(async () => (await kubernetes.service(...service))?.finalizers).toEqual([
      'tailscale.com/finalizer',
    ])
    await made.refusedKey('tag:svc-unowned')
    expect(await devicesOf(made, 'unowned')).toEqual([])
    await withdraw(made, service)
  })

  test('a client has an id, which is no secret, and signs in; one that is not known is refused', async () => {
    await using made = await make()
    const [own, its] = [await made.tailscale.clientId(), await made.operatorClient.clientId()]
    expect(own).not.toBe('')
    expect(its).not.toBe(own)
    await made.tailscale.signIn()
    await made.operatorClient.signIn()
    await expect(made.unknownClient.signIn()).rejects.toMatchObject({
      code: 'tailscale-refused',
      message: expect.stringContaining('401'),
    })
  })

  test('a client makes login keys with its own tag and with tags that it owns, and with no others', async () => {
    await using made = await make()
    const { operatorClient, tailscale } = made
    const before = await tailscale.devices()
    await operatorClient.tryKey(['tag:k8s-operator'])
    await operatorClient.tryKey([tag])
    await expect(operatorClient.tryKey(['tag:svc-unowned'])).rejects.toEqual(refused)
    await expect(operatorClient.tryKey(['tag:not-in-the-policy'])).rejects.toEqual(refused)
    expect((await tailscale.devices()).map(({ id }) => id)).toEqual(before.map(({ id }) => id))
  })

  test("a device that is deleted is gone, its proxy's Secret is not; deleting what is not there is no failure", async () => {
    await using made = await make()
    const { tailscale, operatorClient, tailnet, poll } = made
    const service = await made.makeService()
    await annotate(made, service, 'deleted')
    await poll(() => proxyOf(made, service)).toMatchObject({ fqdn: `deleted.${tailnet}` })
    const [device] = await devicesOf(made, 'deleted')
    await operatorClient.deleteDevice(device?.id ?? '')
    expect(await devicesOf(made, 'deleted')).toEqual([])
    await poll(async () => Object.keys(await tailscale.peers())).not.toContain(`deleted.${tailnet}`)
    expect(await proxyOf(made, service)).toMatchObject({ deviceId: device?.id })
    await operatorClient.deleteDevice(device?.id ?? '')
    await withdraw(made, service)
  })
}

/** Namespace and name. */
type Service = [namespace: string, name: string]
type Made = Pick<Systems, 'kubernetes' | 'tailscale' | 'operatorClient'> & {
  /** A client whose secret the API does not know. */
  unknownClient: Systems['tailscale']
  tailnet: string
  machine: string
  neighbour: string
  operatorNamespace: string
  /** Makes a Service with one port, 80, and no annotations. */
  makeService(): Promise<Service>
  /** Waits until the operator was refused a login key with that tag. */
  refusedKey(tag: string): Promise<void>
  /** `expect.poll` with the patience that this tailnet needs. */
  poll: <T>(look: () => Promise<T>) => ReturnType<typeof expect.poll<T>>
} & AsyncDisposable
