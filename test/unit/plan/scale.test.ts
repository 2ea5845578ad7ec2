import { expect, test, vi } from 'vitest'
import { tokenize } from '../../../src/plan/caddyfile-lexer.ts'
import { type Mesh, parseMesh } from '../../../src/plan/mesh.ts'
import { planMesh } from '../../../src/plan/plan.ts'
import { countPlan, renderPlan } from '../../../src/plan/render-plan.ts'
import type { Snapshot } from '../../../src/plan/snapshot.ts'

// Counted and not timed: how often a plan looks at what it was given. `npm run bench -- scale` has the seconds.
const parsed = vi.hoisted(() => ({ policies: 0 }))
vi.mock('../../../src/plan/caddyfile-lexer.ts', { spy: true })
vi.mock('jsonc-parser', async (original) => {
  const real = await original<typeof import('jsonc-parser')>()
  const parseTree: typeof real.parseTree = (...args) => {
    parsed.policies++
    return real.parseTree(...args)
  }
  return { ...real, parseTree }
})

/** So many services, each with a route, a rule, a device and an entry in the journal: all that a plan looks at. */
function meshOf(count: number): { mesh: Mesh; snapshot: Snapshot; looks: () => number } {
  const names = Array.from({ length: count }, (_, index) => `s${index}`)
  const credentials = '{ clientIdFile: id, clientSecretFile: secret }'
  const services = names.map(
    (name, index) =>
      `  ${name}: { service: apps/${name}, ports: [${10_000 + index}], allow: [panda], routes: { "http://localhost:${30_000 + index}": ${10_000 + index} } }`,
  )
  const text = `kubernetes: { context: c }
tailnet: a.ts.net
machine: panda
tailscale: { credentials: ${credentials} }
operator: { version: 1.102.4, credentials: ${credentials} }
caddy: { file: Caddyfile }
engine: { url: http://localhost:8288 }
services:
${services.join('\n')}
`
  let looks = 0
  const counted = <T extends object>(list: T[]): T[] =>
    new Proxy(list, {
      get: (target, key, receiver) => {
        if (typeof key === 'string' && /^\d+$/.test(key)) looks++
        return Reflect.get(target, key, receiver)
      },
    })
  const device = (name: string, tag: string) => ({
    ...{ id: name, name: `${name}.a.ts.net`, hostname: name, addresses: ['100.64.0.1'] },
    ...{ tags: [tag], online: true, lastSeen: 'now' },
  })
  const policy = `{
  "tagOwners": {${names.map((name) => `"tag:svc-${name}": ["tag:k8s-operator"]`).join(', ')}},
  "grants": [
${names.map((name) => `    {"src": ["joel@"], "dst": ["tag:other-${name}"], "ip": ["*"]},`).join('\n')}
  ],
}`
  const snapshot: Snapshot = {
    cluster: {
      id: 'cluster',
      services: counted(
        names.map((name, index) => ({
          ...{ namespace: 'apps', name, uid: name, resourceVersion: '1', type: 'NodePort' },
          ...{ clusterIP: '10.96.0.7', annotations: {}, finalizers: [] },
          ports: [{ name: '', port: 10_000 + index }],
        })),
      ),
      namespaces: { tailscale: 'privileged' },
      readyPorts: Object.fromEntries(names.map((name) => [`apps/${name}`, ['']])),
      proxies: {},
      operator: { version: '1.102.4', ours: true, running: true, message: '' },
      proxyClassReady: true,
    },
    tailnet: {
      devices: counted([
        device('tailscale-operator', 'tag:k8s-operator'),
        device('panda', 'tag:panda'),
        ...names.map((name) => device(`other-${name}`, 'tag:other')),
      ]),
    },
    policy,
    tailscaled: { peers: {} },
    caddy: {
      version: '2.11.9',
      text: names
        .map(
          (_, index) =>
            `http://localhost:${30_000 + index} {\n\treverse_proxy localhost:${10_000 + index}\n}`,
        )
        .join('\n'),
      adapted: {},
      running: {},
    },
    journal: counted(
      names.map((service) => ({
        ...{ version: 1 as const, service, attempt: 1, state: 'restored' as const, request: 'r', run: 'r' },
        ...{ cluster: 'cluster', tailnet: 'a.ts.net', changes: [], ended: {} },
      })),
    ),
    failures: [],
  }
  return { mesh: parseMesh(text, '/mesh.yaml'), snapshot, looks: () => looks }
}

test.for([20, 400])(
  'a plan of %i services reads policy and Caddyfile once, and looks at each thing a few times',
  (count) => {
    const { mesh, snapshot, looks } = meshOf(count)
    parsed.policies = 0
    vi.mocked(tokenize).mockClear()
    const plan = planMesh(mesh, snapshot)
    expect(countPlan(plan)).toEqual({ changes: count * 7, blocked: 0 })
    expect(renderPlan(plan)).toContain(`${count * 7} changes`)
    expect(parsed.policies).toBe(1)
    expect(tokenize).toHaveBeenCalledTimes(1)
    expect(looks() / count).toBeLessThan(20)
  },
)
