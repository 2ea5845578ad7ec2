import { cpSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { proveFrom } from '../../sandbox/prove-from.ts'
import { caddyfile, entryOf, meshFile, onehop, read, serviceOwned, waitFor, world } from './panda.ts'
import { policy, setPolicy } from './tailnet-policy.ts'

// A Service of the pods of typesense that only the cluster knows: no NodePort, no port map, no route.
const docs = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'docs', namespace: 'joelclaw' },
  spec: { selector: { app: 'typesense' }, ports: [{ name: 'http', port: 8080, targetPort: 8108 }] },
}
const wanted =
  '  docs: { service: joelclaw/docs, ports: [8080], probe: { http: /, identity: /instance }, oldPath: none, allow: [panda, clanker-001] }\n'
const url = 'http://docs.tail7af24.ts.net:8080/instance'
const kubectl = (...args: string[]) => world.kubectl(['-n', 'joelclaw', ...args])
const planned = async () => {
  const { result } = (await onehop('plan')).envelope
  return result as unknown as {
    notes: string[]
    services: Array<{ name: string; notes: string[]; paths: unknown[]; problems: unknown[] }>
  }
}
const docsIn = (plan: Awaited<ReturnType<typeof planned>>) =>
  plan.services.find((each) => each.name === 'docs')

let before: { policy: string; caddyfile: string }

beforeAll(async () => {
  await onehop('operator', 'install')
  await world.kubectl(['apply', '-f', '-'], JSON.stringify(docs))
  cpSync(meshFile, `${meshFile}.saved`)
  writeFileSync(meshFile, `${read(meshFile).trimEnd()}\n${wanted}`)
  before = { policy: await policy(), caddyfile: read(caddyfile) }
})
afterAll(async () => {
  await onehop('rollback', 'docs', '--local')
  cpSync(`${meshFile}.saved`, meshFile)
  await setPolicy(before.policy)
  await kubectl('delete', 'service', 'docs', 'by-hand', '--wait', '--ignore-not-found')
})

describe('a Service that never had an old path', () => {
  test('is planned with its device name alone', async () => {
    const service = docsIn(await planned())
    expect(service?.problems).toEqual([])
    expect(service?.paths).toEqual([{ port: 8080, device: 'http://docs.tail7af24.ts.net:8080' }])
  })

  test('is exposed and proven by its device name, and Caddy hears nothing of it', async () => {
    const owned = await serviceOwned('docs')
    const { envelope } = await onehop('expose', 'docs')
    expect(envelope.error).toBeNull()
    expect(envelope.result?.services?.[0]).toMatchObject({ name: 'docs', state: 'moved' })
    expect(envelope.result?.services?.[0]).not.toHaveProperty('oldMs')
    expect((await proveFrom(world.clanker, [url]))[0]?.ok).toBe(true)
    expect(read(caddyfile)).toBe(before.caddyfile)
    expect((await onehop('retire', 'docs')).envelope.error?.code).toBe('old-path-none')

    expect((await onehop('unexpose', 'docs')).envelope.result).toMatchObject({ state: 'restored' })
    expect(await serviceOwned('docs')).toEqual(owned)
    expect(await policy()).toBe(before.policy)
    expect((await proveFrom(world.clanker, [url]))[0]?.ok).toBe(false)
  })

  test('a service with an old path is not unexposed but rolled back', async () => {
    const { exitCode, envelope } = await onehop('unexpose', 'redis')
    expect({ exitCode, code: envelope.error?.code, fix: envelope.fix }).toEqual({
      exitCode: 2,
      code: 'old-path-kept',
      fix: 'if that is what you want: onehop rollback redis',
    })
  })
})

describe('a Service that somebody annotated by hand', () => {
  const annotate = (service: string, ...values: string[]) =>
    kubectl('annotate', 'service', service, ...values.map((each) => `tailscale.com/${each}`))
  const hasDevice = async () => {
    const of = ['-l', 'tailscale.com/parent-resource=docs', '-o', 'json']
    const { items } = JSON.parse(await world.kubectl(['-n', 'tailscale', 'get', 'secrets', ...of]))
    return items.some((each: { data?: Record<string, string> }) => each.data?.device_fqdn !== undefined)
  }

  test('and mesh.yaml does not name is told of, and not touched by what else moves', async () => {
    await kubectl('create', 'service', 'clusterip', 'by-hand', '--tcp=80')
    await annotate('by-hand', 'expose=true')
    const note = (await planned()).notes.find((each) => each.includes('joelclaw/by-hand'))
    expect(note).toContain('onehop never touches them')
    const annotations = async () =>
      JSON.parse(await kubectl('get', 'service', 'by-hand', '-o', 'json')).metadata.annotations
    const mine = await annotations()
    expect((await onehop('expose', 'typesense')).envelope.error).toBeNull()
    await onehop('rollback', 'typesense')
    expect(await annotations()).toEqual(mine)
  })

  test('and mesh.yaml names is taken over on request, and given back to whom it belonged', async () => {
    const owned = '"tag:svc-docs": ["tag:k8s-operator"],\n    "tag:svc-qdrant"'
    await setPolicy(before.policy.replace('"tag:svc-qdrant"', owned))
    await annotate('docs', 'expose=true', 'hostname=docs', 'tags=tag:svc-docs')
    await waitFor('the device', hasDevice, 90)
    const mine = await serviceOwned('docs')
    expect(docsIn(await planned())?.notes.join()).toContain('exposed by hand already (kubectl-annotate)')

    expect((await onehop('expose', 'docs')).envelope.error).toBeNull()
    expect((await proveFrom(world.clanker, [url]))[0]?.ok).toBe(true)
    expect((await onehop('unexpose', 'docs')).envelope.result).toMatchObject({ state: 'restored' })
    expect(entryOf('docs')?.state).toBe('restored')
    // Exposed as before: its device is not onehop's to take away.
    expect(await serviceOwned('docs')).toEqual(mine)
    expect(await hasDevice()).toBe(true)
  })
})
