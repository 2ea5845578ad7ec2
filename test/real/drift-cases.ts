import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DriftKind } from '../../src/plan/drift-kinds.ts'
import { caddyfile, meshFile, read, waitFor, world } from './panda.ts'
import { operatorOnline, operatorPod, pointAt, scale } from './stagings.ts'
import { policy, setPolicy } from './tailnet-policy.ts'

/**
 * How each kind of drift comes about: by the means that a person or another controller would use. `restore` is how a
 * person puts it right where onehop does not; without it, `onehop drift --repair` does.
 */
export const driftCases: DriftCase[] = [
  {
    kind: 'hostname-changed',
    subject: 'typesense',
    make: () => annotate('typesense', 'tailscale.com/hostname=search', '--overwrite'),
  },
  {
    kind: 'tag-edited',
    subject: 'typesense',
    make: () => annotate('typesense', 'tailscale.com/tags=tag:other', '--overwrite'),
  },
  {
    kind: 'annotation-gone',
    subject: 'typesense',
    make: () => annotate('typesense', 'tailscale.com/expose-'),
  },
  { kind: 'type-back', subject: 'redis', make: () => patch('redis', { type: 'NodePort' }) },
  {
    kind: 'nodeport-gone',
    subject: 'typesense',
    make: () => patch('typesense', { type: 'ClusterIP' }),
    restore: () => patch('typesense', { type: 'NodePort', ports: [typesensePort(8108)] }),
  },
  {
    kind: 'nodeport-changed',
    subject: 'typesense',
    make: () => patch('typesense', { ports: [typesensePort(8118)] }),
    restore: () => patch('typesense', { ports: [typesensePort(8108)] }),
  },
  {
    kind: 'ports-changed',
    subject: 'typesense',
    make: () => patch('typesense', { ports: [{ name: 'more', port: 8109, targetPort: 8109 }] }),
    async restore() {
      const remove = [{ op: 'remove', path: `/spec/ports/${await indexOfPort(8109)}` }]
      await world.kubectl([...patchOf('typesense'), '--type=json', '-p', JSON.stringify(remove)])
    },
  },
  {
    kind: 'no-endpoints',
    subject: 'typesense',
    make: () => scale('joelclaw', 'statefulset/typesense', 0),
    restore: () => scale('joelclaw', 'statefulset/typesense', 1),
  },
  { kind: 'device-silent', subject: 'typesense', make: () => pointAt(8109), restore: () => pointAt(8108) },
  {
    kind: 'device-renamed',
    subject: 'typesense',
    make: () => renameDevice('typesense', 'search'),
  },
  {
    kind: 'device-offline',
    subject: 'typesense',
    // A running operator would scale it up again at once.
    async make() {
      await scale('tailscale', 'deployment/operator', 0)
      await proxies('scale', 'statefulset', '--replicas=0')
    },
    async restore() {
      await proxies('scale', 'statefulset', '--replicas=1')
      await startOperator()
    },
    also: ['operator-down operator'],
  },
  {
    kind: 'login-key-spent',
    subject: 'typesense',
    make: () => proxySecret({ reissue_authkey: Buffer.from('key').toString('base64') }),
  },
  {
    kind: 'proxy-stuck',
    subject: 'typesense',
    // A bad image while the operator is away. Back again, it corrects the StatefulSet, which never replaces a pod that does
    // not start.
    async make() {
      await scale('tailscale', 'deployment/operator', 0)
      const [name = ''] = (await proxies('get', 'statefulset', '-o', 'name')).split('\n')
      await world.kubectl(['-n', 'tailscale', 'set', 'image', name, '*=localhost/nowhere:1'])
      await waitFor('the pod to be stuck', async () => (await proxies('get', 'pod')).includes('ImagePull'))
      await startOperator()
    },
  },
  {
    kind: 'device-deleted',
    subject: 'typesense',
    make: async () => world.headscale(['nodes', 'delete', '-i', await deviceId('typesense'), '--force']),
  },
  {
    kind: 'proxyclass-unready',
    subject: 'operator',
    make: () =>
      world.kubectl([
        'patch',
        'proxyclass',
        'onehop',
        '--type=merge',
        '-p',
        proxyClassAnnotations({ 'no key!': '' }),
      ]),
    restore: () =>
      world.kubectl(['patch', 'proxyclass', 'onehop', '--type=merge', '-p', proxyClassAnnotations(null)]),
  },
  {
    kind: 'namespace-label-gone',
    subject: 'operator',
    make: () => world.kubectl(['label', 'namespace', 'tailscale', 'pod-security.kubernetes.io/enforce-']),
  },
  {
    kind: 'secret-changed',
    subject: 'operator',
    make: () =>
      world.kubectl([
        ...['-n', 'tailscale', 'patch', 'secret', 'operator-oauth', '--type=merge', '-p'],
        JSON.stringify({ data: { client_secret: Buffer.from('another').toString('base64') } }),
      ]),
  },
  {
    kind: 'operator-version',
    subject: 'operator',
    make: async () => editMesh('version: 1.102.4\n', 'version: 1.102.3\n'),
    restore: async () => editMesh('version: 1.102.3\n', 'version: 1.102.4\n'),
  },
  {
    kind: 'operator-down',
    subject: 'operator',
    make: () => scale('tailscale', 'deployment/operator', 0),
    async restore() {
      await startOperator()
    },
  },
  {
    kind: 'operator-gone',
    subject: 'operator',
    make: () => world.kubectl(['-n', 'tailscale', 'delete', 'deployment', 'operator']),
  },
  {
    kind: 'operator-deaf',
    subject: 'operator',
    async make() {
      await world.server('coredns').stop()
      await world.kubectl(['-n', 'tailscale', 'delete', 'pod', '-l', 'app=operator', '--grace-period=1'])
      await waitFor('the operator to run', async () => (await operatorPod()) === 'Running')
      await waitFor('it to be off the tailnet', async () => !(await operatorOnline()))
    },
    async restore() {
      await world.server('coredns').start()
      await world.kubectl(['-n', 'tailscale', 'delete', 'pod', '-l', 'app=operator', '--grace-period=1'])
      await waitFor('the operator to be back', operatorOnline)
    },
  },
  { kind: 'grant-gone', subject: 'typesense', make: () => editPolicy(withoutLines(/onehop: typesense/)) },
  {
    kind: 'policy-test-gone',
    subject: 'typesense',
    make: () => editPolicy(withoutLines(/"accept".*onehop: typesense/)),
  },
  {
    kind: 'grant-widened',
    subject: 'redis',
    make: () =>
      editPolicy((text) =>
        withoutLines(/"deny".*onehop: redis/)(text).replace(
          /"src": \["panda"\], "dst": \["tag:svc-redis"\]/,
          '"src": ["panda", "clanker-001"], "dst": ["tag:svc-redis"]',
        ),
      ),
  },
  {
    kind: 'rule-for-all',
    subject: 'policy',
    make: () =>
      editPolicy((text) =>
        withoutLines(/"deny".*onehop/)(text).replace(
          '"grants": [\n',
          '"grants": [\n    {"src": ["*"], "dst": ["*"], "ip": ["*"]},\n',
        ),
      ),
    restore: () => setPolicy(savedPolicy),
  },
  {
    kind: 'caddy-not-running',
    subject: 'caddy',
    make: async () =>
      writeFileSync(caddyfile, `${read(caddyfile)}\nhttp://localhost:9797 {\n\trespond "x"\n}\n`),
    restore: async () =>
      writeFileSync(caddyfile, read(caddyfile).replace('\nhttp://localhost:9797 {\n\trespond "x"\n}\n', '')),
  },
  {
    kind: 'route-elsewhere',
    subject: 'qdrant',
    make: () => editCaddyfile('qdrant.tail7af24.ts.net:6333', 'localhost:6333'),
  },
  {
    kind: 'route-back',
    subject: 'livekit',
    make: () =>
      editCaddyfile(
        /# onehop: the route of https:\/\/panda\.tail7af24\.ts\.net:7443 was here.*/,
        'https://panda.tail7af24.ts.net:7443 {\n\timport tailnet_cert\n\treverse_proxy   livekit.tail7af24.ts.net:7880\n}',
      ),
  },
  {
    kind: 'engine-open',
    subject: 'http://localhost:9798',
    make: () => editCaddyfile(/$/, '\nhttp://localhost:9798 {\n\treverse_proxy localhost:8288\n}\n'),
    restore: () => editCaddyfile('\nhttp://localhost:9798 {\n\treverse_proxy localhost:8288\n}\n', ''),
  },
  {
    kind: 'books-edited',
    subject: 'books',
    make: async () =>
      writeFileSync(books, read(books).replace('| typesense |', '| typesense (do not use) |')),
  },
  {
    kind: 'exposed-elsewhere',
    subject: 'joelclaw/another',
    make: () => world.kubectl(['apply', '-f', '-'], JSON.stringify(exposedByHand('another'))),
    restore: () => world.kubectl(['-n', 'joelclaw', 'delete', 'service', 'another', '--wait=false']),
  },
]

export type DriftCase = {
  kind: DriftKind
  subject: string
  make: () => Promise<unknown>
  restore?: () => Promise<unknown>
  /** What else must be found with it; with these it may be found. */
  also?: string[]
}

export const books = join(world.panda.home, 'NEIGHBORHOOD.md')

/** What the cases of the policy go back to. */
let savedPolicy = ''
export async function savePolicy(): Promise<void> {
  savedPolicy = await policy()
}

/** A Service that somebody has exposed without onehop. */
export const exposedByHand = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name,
    namespace: 'joelclaw',
    annotations: {
      'tailscale.com/expose': 'true',
      'tailscale.com/hostname': name,
      'tailscale.com/tags': 'tag:k8s-operator',
    },
  },
  spec: { selector: { app: 'typesense' }, ports: [{ port: 80, targetPort: 8108 }] },
})

const patchOf = (service: string) => ['-n', 'joelclaw', 'patch', 'service', service]
const patch = (service: string, spec: unknown) =>
  world.kubectl([...patchOf(service), '-p', JSON.stringify({ spec })])
const annotate = (service: string, ...args: string[]) =>
  world.kubectl(['-n', 'joelclaw', 'annotate', 'service', service, ...args])
const typesensePort = (nodePort: number) => ({ name: 'http', port: 8108, targetPort: 8108, nodePort })

async function indexOfPort(port: number): Promise<number> {
  const service = await world.kubectl(['-n', 'joelclaw', 'get', 'service', 'typesense', '-o', 'json'])
  return JSON.parse(service).spec.ports.findIndex((each: { port: number }) => each.port === port)
}

/** Its device may still count as online from before: the Deployment is asked as well. */
async function startOperator(): Promise<void> {
  await scale('tailscale', 'deployment/operator', 1)
  await world.kubectl(['-n', 'tailscale', 'rollout', 'status', 'deployment/operator', '--timeout=60s'])
  await waitFor('the operator', operatorOnline)
}

/** Something of the proxy of typesense. */
const proxies = (verb: string, kind: string, ...args: string[]) =>
  world.kubectl(['-n', 'tailscale', verb, kind, '-l', 'tailscale.com/parent-resource=typesense', ...args])

async function proxySecret(data: Record<string, string | null>): Promise<void> {
  const name = await proxies('get', 'secret', '-o', 'name')
  await world.kubectl([
    '-n',
    'tailscale',
    'patch',
    name.trim(),
    '--type=merge',
    '-p',
    JSON.stringify({ data }),
  ])
}

const proxyClassAnnotations = (annotations: Record<string, string> | null) =>
  JSON.stringify({ spec: { statefulSet: { pod: { annotations } } } })

type Node = { id: number | string; name: string }
async function deviceId(name: string): Promise<string> {
  const nodes = (await world.headscale(['nodes', 'list'])) as Node[]
  return String(nodes.find((each) => each.name === name)?.id)
}
const renameDevice = async (from: string, to: string) =>
  world.headscale(['nodes', 'rename', '-i', await deviceId(from), to])

const withoutLines = (pattern: RegExp) => (text: string) =>
  text
    .split('\n')
    .filter((line) => !pattern.test(line))
    .join('\n')

async function editPolicy(change: (text: string) => string): Promise<void> {
  const before = await policy()
  const after = change(before)
  if (after === before) throw new Error(`the edit of the policy changes nothing:\n${before}`)
  await setPolicy(after)
}

async function editCaddyfile(from: string | RegExp, to: string): Promise<void> {
  const before = read(caddyfile)
  const after = before.replace(from, to)
  if (after === before) throw new Error(`the edit of the Caddyfile changes nothing:\n${before}`)
  writeFileSync(caddyfile, after)
  await world.panda.run('caddy', ['reload', '--config', caddyfile, '--adapter', 'caddyfile'])
}

function editMesh(from: string, to: string): void {
  if (!read(meshFile).includes(from)) throw new Error(`mesh.yaml has no ${from}`)
  writeFileSync(meshFile, read(meshFile).replace(from, to))
}
