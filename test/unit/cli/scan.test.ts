import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { scan } from '../../../src/cli/scan.ts'
import { isClusterService, parseMesh } from '../../../src/plan/mesh.ts'
import { startApiServer } from '../api-server.ts'

let warned: string
beforeEach(() => {
  warned = ''
  // Nothing of the machine that the tests run on: no docker, no tailscale, no caddy, no kubeconfig of its own.
  vi.stubEnv('PATH', '/nowhere')
  vi.stubEnv('HOME', '/nowhere')
  vi.stubEnv('KUBECONFIG', '')
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    warned += text
    return true
  })
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** A port of this machine that accepts, as a port map does. */
async function acceptingPort() {
  const server = createServer((socket) => socket.resume().end()).listen(0, 'localhost')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}
const nodePort = (name: string, port: number) => ({
  metadata: { name, namespace: 'apps' },
  spec: { type: 'NodePort', clusterIP: '10.96.0.1', ports: [{ port: 80, nodePort: port }] },
})
/** Caddy's admin API where nobody listens. */
const caddyAdmin = 'http://127.0.0.1:1'

test('with nothing but a cluster it writes what it can, and warns of each part that it could not read', async () => {
  await using map = await acceptingPort()
  await using api = await startApiServer({ services: [nodePort('web', map.port)] })
  const { kubeconfig, folder } = api
  const out = join(folder, 'mesh.yaml')
  const { text, next, failure } = await scan({ out, kubeconfig, caddyAdmin })
  expect(failure).toBeUndefined()
  expect(next).toEqual([`onehop plan --mesh ${out}`])
  expect(text).toContain('services: 1, processes of this machine: 0, ports: 1, routes: 0')
  const mesh = parseMesh(readFileSync(out, 'utf8'), out)
  expect(mesh.kubernetes).toEqual({ context: 'admin@talos', kubeconfig })
  expect(mesh.services.filter(isClusterService)).toMatchObject([
    { name: 'web', service: 'apps/web', ports: [{ port: 80, portMap: map.port }] },
  ])
  for (const what of ['Docker', 'the tailnet', 'the Caddyfile', 'what Caddy runs', 'the listeners'])
    expect(warned).toContain(`! ${what}`)
  expect(api.asked.map((each) => each.split('?')[0])).toEqual(
    expect.arrayContaining(['GET /api/v1/services limit=500', 'GET /api/v1/nodes limit=500']),
  )
  expect(api.asked).toHaveLength(2)
})

test('to stdout goes the file and nothing else', async () => {
  await using map = await acceptingPort()
  await using api = await startApiServer({ services: [nodePort('web', map.port)] })
  const { text, next } = await scan({ kubeconfig: api.kubeconfig, caddyAdmin, tailnet: 'tail7af24.ts.net' })
  expect(next).toBeUndefined()
  expect(parseMesh(text, 'mesh.yaml').tailnet).toBe('tail7af24.ts.net')
})

test('a file that is there is never overwritten, unless forced', async () => {
  await using map = await acceptingPort()
  await using api = await startApiServer({ services: [nodePort('web', map.port)] })
  const { kubeconfig, folder, asked } = api
  const out = join(folder, 'mesh.yaml')
  writeFileSync(out, 'mine')
  await expect(scan({ out, kubeconfig, caddyAdmin })).rejects.toMatchObject({
    code: 'scan-file-exists',
    kind: 'input',
  })
  expect(asked).toEqual([])
  expect(readFileSync(out, 'utf8')).toBe('mine')
  await scan({ out, kubeconfig, caddyAdmin, force: true })
  expect(parseMesh(readFileSync(out, 'utf8'), out).services).toHaveLength(1)
})

test('where no Service leads to this machine the draft is shown, no file is written, and the refusal has a code', async () => {
  await using api = await startApiServer({ services: [nodePort('web', 1)] })
  const { kubeconfig, folder } = api
  const shown = await scan({ kubeconfig, caddyAdmin, namespace: ['apps'] })
  expect(shown.failure).toMatchObject({ code: 'scan-nothing-found', kind: 'refused' })
  expect(shown.text).toContain(
    '# ? apps/web has node port 1, and nothing on this machine is known to lead there.',
  )
  const out = join(folder, 'mesh.yaml')
  expect((await scan({ out, kubeconfig, caddyAdmin })).failure?.code).toBe('scan-nothing-found')
  expect(existsSync(out)).toBe(false)
})

test('without the cluster there is nothing to write: a refusal with a code', async () => {
  const api = await startApiServer({})
  const kubeconfig = readFileSync(api.kubeconfig, 'utf8')
  await api[Symbol.asyncDispose]()
  await using other = await startApiServer({})
  writeFileSync(other.kubeconfig, kubeconfig)
  await expect(scan({ kubeconfig: other.kubeconfig, caddyAdmin })).rejects.toMatchObject({
    code: 'kubernetes-unreachable',
  })
})

test.for([
  { title: 'no kubeconfig', flags: {}, code: 'flag-invalid', says: 'there is no kubeconfig' },
  {
    title: 'a kubeconfig that is not there',
    flags: { kubeconfig: '/nowhere/config' },
    code: 'flag-invalid',
    says: 'cannot read /nowhere/config',
  },
  {
    title: 'a context that it does not have',
    flags: { context: 'prod' },
    code: 'kubernetes-context-unknown',
    says: 'prod',
  },
  { title: 'a tailnet that is no name', flags: { tailnet: 'a b' }, code: 'flag-invalid', says: '--tailnet' },
  {
    title: 'an admin address that is no URL',
    flags: { caddyAdmin: 'here' },
    code: 'flag-invalid',
    says: '--caddy-admin',
  },
])('$title is refused with a code', async ({ flags, code, says }) => {
  await expect(scan({ caddyAdmin, ...flags })).rejects.toMatchObject({
    code,
    message: expect.stringContaining(says),
  })
})
