import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { installOperator } from '../../../src/functions/install-operator.ts'
import { openJournal } from '../../../src/journal.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { createStep, localEngine } from '../../../src/steps/step.ts'
import { smallMesh } from '../small-mesh.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-operator-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A cluster with somebody else's operator; `spoilt` is what one question is answered with, and every write is noted. */
async function worldWith(spoilt: Record<string, unknown>) {
  const mesh = smallMesh(folder)
  const journal = await openJournal(folder)
  const writes: string[] = []
  const write = (what: string) => async () => void writes.push(what)
  const device = { hostname: 'tailscale-operator', addresses: [], tags: ['tag:k8s-operator'], online: true }
  const systems = {
    kubernetes: {
      clusterId: async () => 'uid',
      services: async () => [],
      namespaces: async () => ({ tailscale: 'privileged' }),
      readyPorts: async () => ({}),
      proxies: async () => ({}),
      operator: async () => ({ version: '1.90.0', ours: false, running: true, message: '' }),
      proxyClassReady: async () => true,
      applyNamespace: write('namespace'),
      applyOAuthSecret: write('secret'),
      applyProxyClass: write('proxy-class'),
      ...spoilt,
    },
    tailscale: {
      devices: async () => [{ id: 'o', name: 'tailscale-operator.a.ts.net', ...device }],
      policy: async () => ({ text: '{}', etag: '1' }),
      peers: async () => ({}),
      ...spoilt,
    },
    operatorClient: {},
    helm: { upgradeInstall: write('helm') },
    caddy: {
      version: async () => {
        throw new OnehopError('caddy-missing', { bin: 'caddy', message: 'not here' })
      },
      readFile: async () => ({ text: '' }),
      adapt: async () => ({}),
      running: async () => ({}),
    },
  }
  const work = { mesh, journal, systems } as unknown as Work
  const setup: Setup = { mesh: async () => mesh, journal: async () => journal, work: async () => work }
  const step = createStep(localEngine, (_, __, look) => look())
  return { writes, install: () => installOperator(step, { setup, proven: true }) }
}

test("somebody's operator is used as it is, also where Caddy cannot be read", async () => {
  const { writes, install } = await worldWith({})
  expect(await install()).toEqual({ state: 'ready', changed: false })
  expect(writes).toEqual([])
})

const thrown = (error: Error) => async () => {
  throw error
}
test.for([
  // An answer that this version does not understand is no coded error, and says as little about an operator.
  ['the proxies cannot be understood', { proxies: thrown(new SyntaxError('Unexpected token')) }, 'internal'],
  [
    'Deployments are refused',
    { operator: thrown(new OnehopError('kubernetes-refused', { action: 'a' })) },
    'kubernetes-refused',
  ],
  [
    'a credential is missing',
    { devices: thrown(new OnehopError('credentials-missing', { file: 'f' })) },
    'credentials-missing',
  ],
] as const)('nothing is installed where %s', async ([, spoilt, code]) => {
  const { writes, install } = await worldWith(spoilt)
  expect(await install()).toMatchObject({ state: 'failed', failure: { code } })
  expect(writes).toEqual([])
})
