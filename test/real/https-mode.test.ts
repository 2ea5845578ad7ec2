import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  caddyfile,
  entryOf,
  meshFile,
  onehop,
  read,
  serviceDevices,
  serviceOwned,
  waitFor,
  world,
} from './panda.ts'

// The sandbox's control server makes no certificates, so what is real here ends where a name would get one.
const mesh = read(meshFile)
let before: unknown

const whole = async () => ({ caddyfile: read(caddyfile), owned: await serviceOwned('typesense') })
type Ingress = {
  metadata: { name: string; uid: string; finalizers?: string[] }
  spec: { ingressClassName: string; tls: unknown; defaultBackend: unknown }
}
async function ingress(): Promise<Ingress | undefined> {
  const get = ['-n', 'joelclaw', 'get', 'ingress', 'onehop-typesense', '--ignore-not-found', '-o', 'json']
  const text = await world.kubectl(get)
  return text.trim() === '' ? undefined : JSON.parse(text)
}
const proxies = async () =>
  JSON.parse(
    await world.kubectl([
      ...['-n', 'tailscale', 'get', 'statefulset,secret,pod', '-o', 'json'],
      ...['-l', 'tailscale.com/parent-resource-type=ingress'],
    ]),
  ).items.length

beforeAll(async () => {
  await onehop('operator', 'install')
  before = await whole()
  writeFileSync(
    meshFile,
    mesh.replace('service: joelclaw/typesense\n', 'service: joelclaw/typesense\n    mode: https\n'),
  )
  expect(read(meshFile)).toContain('mode: https')
})
afterAll(async () => {
  await onehop('rollback', 'typesense', '--local', '--force')
  writeFileSync(meshFile, mesh)
})

test('plan names the Ingress, the new URL and the budget, and changes nothing', async () => {
  const { stdout } = await onehop('plan', 'typesense')
  expect(stdout).toContain(
    'Ingress joelclaw/onehop-typesense, class tailscale: https://typesense.tail7af24.ts.net',
  )
  expect(stdout).toContain('0 of the 5 certificates of this week are used')
  expect(await ingress()).toBeUndefined()
})

test('on a tailnet without certificates it is made, known by the operator, found without TLS, and taken back', async () => {
  const moving = onehop('expose', 'typesense')
  await waitFor('the Ingress, taken up by the operator', async () =>
    ((await ingress())?.metadata.finalizers ?? []).includes('tailscale.com/finalizer'),
  )
  expect((await ingress())?.spec).toEqual({
    ingressClassName: 'tailscale',
    tls: [{ hosts: ['typesense'] }],
    defaultBackend: { service: { name: 'typesense', port: { number: 8108 } } },
  })
  await waitFor('its device', async () => (await serviceDevices()).includes('typesense'))
  const { envelope } = await moving
  expect(envelope.result).toMatchObject({ services: [{ name: 'typesense', state: 'restored' }] })
  expect(envelope.error?.code).toBe('https-not-enabled')
  expect(await ingress()).toBeUndefined()
  expect(await proxies()).toBe(0)
  expect(await serviceDevices()).toEqual([])
  expect(await whole()).toEqual(before)
})

test('what somebody else has changed in it is shown and left, until it is forced', async () => {
  const moving = onehop('expose', 'typesense')
  await waitFor('the Ingress', async () => (await ingress()) !== undefined)
  const patch = { spec: { tls: [{ hosts: ['search'] }] } }
  await world.kubectl(['-n', 'joelclaw', 'patch', 'ingress', 'onehop-typesense', '-p', JSON.stringify(patch)])
  const { envelope } = await moving
  expect(envelope.result).toMatchObject({ services: [{ state: 'rollback-incomplete' }] })
  expect(entryOf('typesense')?.failure?.code).toBe('changed-by-others')
  expect(await ingress()).toBeDefined()
  const forced = await onehop('rollback', 'typesense', '--force')
  expect(forced.envelope.result).toMatchObject({ state: 'restored' })
  expect(await ingress()).toBeUndefined()
  expect(await proxies()).toBe(0)
})

test("somebody else's Ingress of that name is refused, and stays as it is", async () => {
  const theirs = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'onehop-typesense', namespace: 'joelclaw' },
    spec: { defaultBackend: { service: { name: 'typesense', port: { number: 8108 } } } },
  }
  await world.kubectl(['apply', '-f', '-'], JSON.stringify(theirs))
  const found = await ingress()
  const { envelope } = await onehop('expose', 'typesense')
  expect(envelope.error?.code).toBe('ingress-taken')
  expect(envelope.result).toMatchObject({ services: [{ state: 'refused' }] })
  expect(await ingress()).toEqual(found)
  await world.kubectl(['-n', 'joelclaw', 'delete', 'ingress', 'onehop-typesense'])
})
