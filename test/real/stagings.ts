import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CaseName } from './end-states.ts'
import { caddyfile, kubeconfig, meshFile, onehop, read, waitFor, world } from './panda.ts'

/** How each case of the table is made to happen: before the request, or while it is under way; and how the world is put right. */
export const stagings: Record<CaseName, Staging> = {
  'redis is moved': {},
  'qdrant is moved': {},
  'livekit is moved': {},
  'pds is moved': {},
  'typesense is moved': {},
  'inngest, the engine itself, is moved': {},
  'the name is taken before preflight': {
    arrange: () => renameClanker('typesense'),
    restore: () => renameClanker('clanker-001'),
  },
  'the name is taken after preflight': {
    during: () => renameClanker('typesense'),
    restore: () => renameClanker('clanker-001'),
  },
  'another cluster stands behind the same kubeconfig': {
    async arrange() {
      await onehop('expose', 'typesense')
      await startOtherCluster()
      cpSync(kubeconfig, `${kubeconfig}.saved`)
      writeFileSync(kubeconfig, read(kubeconfig).replace(world.apiServer, 'https://127.0.0.1:6451'))
    },
    async restore() {
      cpSync(`${kubeconfig}.saved`, kubeconfig)
      await world.server('other-apiserver').stop()
    },
  },
  'the Service is recreated': {
    async arrange() {
      await onehop('expose', 'typesense')
      await recreate()
    },
  },
  'endpoints are not ready': {
    async arrange() {
      await scale('joelclaw', 'statefulset/typesense', 0)
      await waitFor('the pod to be gone', async () => (await typesensePods()) === 0)
    },
    async restore() {
      await scale('joelclaw', 'statefulset/typesense', 1)
      await typesenseReady()
    },
  },
  'the Service is missing': { arrange: () => removeTypesense(), restore: () => recreate() },
  'the Service is headless': {
    arrange: () => recreate({ clusterIP: 'None', type: 'ClusterIP' }),
    restore: () => recreate(),
  },
  'a port does not answer': {
    arrange: () => pointAt(8109),
    restore: () => pointAt(8108),
  },
  'the namespace has lost its label': {
    arrange: () => world.kubectl(['label', 'namespace', 'tailscale', 'pod-security.kubernetes.io/enforce-']),
  },
  'the Caddyfile is edited by hand between preflight and switch': {
    async during() {
      cpSync(caddyfile, `${caddyfile}.saved`)
      writeFileSync(caddyfile, `${read(caddyfile)}\nhttp://localhost:9999 {\n\trespond "by hand"\n}\n`)
    },
    async restore() {
      // What the person wrote is still there, and everything else is as it was.
      if (
        read(caddyfile) !== `${read(`${caddyfile}.saved`)}\nhttp://localhost:9999 {\n\trespond "by hand"\n}\n`
      )
        throw new Error('the edit by hand was touched')
      cpSync(`${caddyfile}.saved`, caddyfile)
    },
  },
  'Caddy is down': { arrange: () => world.server('caddy').kill(), restore: () => startCaddy() },
  'the operator is down': {
    async arrange() {
      await scale('tailscale', 'deployment/operator', 0)
      await waitFor('the operator to be gone', async () => !(await operatorPod()))
    },
    async restore() {
      await scale('tailscale', 'deployment/operator', 1)
      await waitFor('the operator to be back', operatorOnline)
    },
  },
  'the operator runs but is deaf': {
    async arrange() {
      await world.server('coredns').stop()
      await world.kubectl(['-n', 'tailscale', 'delete', 'pod', '-l', 'app=operator', '--grace-period=1'])
      await waitFor('the operator to run', async () => (await operatorPod()) === 'Running')
      await waitFor('the operator to be off the tailnet', async () => !(await operatorOnline()))
    },
    async restore() {
      await world.server('coredns').start()
      await world.kubectl(['-n', 'tailscale', 'delete', 'pod', '-l', 'app=operator', '--grace-period=1'])
      await waitFor('the operator to be back', operatorOnline)
    },
  },
  'the proxy pod cannot pull its image': {
    async arrange() {
      // kubelet says within seconds that it cannot; the rest of the time would only be waited for.
      cpSync(meshFile, `${meshFile}.saved`)
      writeFileSync(
        meshFile,
        read(meshFile).replace('deadlines: { device: 45 }', 'deadlines: { device: 15 }'),
      )
      await patchProxyImage('localhost/nowhere:1')
    },
    async restore() {
      cpSync(`${meshFile}.saved`, meshFile)
      await patchProxyImage(null)
    },
  },
  'Helm fails': {
    async arrange() {
      cpSync(meshFile, `${meshFile}.saved`)
      writeFileSync(
        meshFile,
        read(meshFile)
          .replace(/chart: .*/, 'chart: ./no-such-chart')
          .replace('version: 1.102.4', 'version: 1.102.3'),
      )
    },
    restore: async () => cpSync(`${meshFile}.saved`, meshFile),
  },
  'a proof fails after the switch': {
    async during() {
      await waitFor('the switch', () => read(caddyfile).includes('qdrant.tail7af24.ts.net:6333'))
      await world.kubectl([
        '-n',
        'tailscale',
        'delete',
        'pod',
        '-l',
        'tailscale.com/parent-resource=qdrant',
        '--grace-period=0',
        '--force',
      ])
    },
  },
}

type Staging = {
  arrange?: () => Promise<unknown>
  during?: () => Promise<unknown>
  restore?: () => Promise<unknown>
}

export async function renameClanker(name: string) {
  const nodes = (await world.headscale(['nodes', 'list'])) as Array<{ id: number | string; name: string }>
  const clanker = nodes.find((each) => each.name === 'clanker-001')
  await world.headscale(['nodes', 'rename', '-i', String(clanker?.id), name])
}

export const scale = (namespace: string, object: string, replicas: number) =>
  world.kubectl(['-n', namespace, 'scale', object, `--replicas=${replicas}`])
/** Points the Service at another port of its pod, and waits until its endpoints follow. */
export async function pointAt(targetPort: number) {
  const patch = { spec: { ports: [{ port: 8108, targetPort }] } }
  await world.kubectl(['-n', 'joelclaw', 'patch', 'service', 'typesense', '-p', JSON.stringify(patch)])
  await typesenseReady(targetPort)
}

async function typesenseReady(targetPort = 8108) {
  const slices = [
    '-n',
    'joelclaw',
    'get',
    'endpointslices',
    '-l',
    'kubernetes.io/service-name=typesense',
    '-o',
    'json',
  ]
  await waitFor('the EndpointSlice', async () => {
    const [slice, ...others] = JSON.parse(await world.kubectl(slices)).items
    return others.length === 0 && slice.ports[0].port === targetPort && slice.endpoints[0].conditions.ready
  })
}

const patchProxyImage = (image: string | null) => {
  const patch = {
    spec: { statefulSet: { pod: { tailscaleContainer: { image }, tailscaleInitContainer: { image } } } },
  }
  return world.kubectl(['patch', 'proxyclass', 'onehop', '--type=merge', '-p', JSON.stringify(patch)])
}
const removeTypesense = () =>
  world.kubectl(['-n', 'joelclaw', 'delete', 'service', 'typesense', '--wait', '--ignore-not-found'])
const typesensePods = async () =>
  JSON.parse(await world.kubectl(['-n', 'joelclaw', 'get', 'pods', '-l', 'app=typesense', '-o', 'json']))
    .items.length

async function recreate(spec?: Record<string, unknown>) {
  await removeTypesense()
  if (!spec) {
    await world.applySeed(['typesense'])
    return typesenseReady()
  }
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'typesense', namespace: 'joelclaw' },
  }
  const ports = [{ name: 'http', port: 8108 }]
  return world.kubectl(
    ['apply', '-f', '-'],
    JSON.stringify({ ...service, spec: { ...spec, ports, selector: { app: 'typesense' } } }),
  )
}

export async function operatorPod(): Promise<string | undefined> {
  const { items } = JSON.parse(
    await world.kubectl(['-n', 'tailscale', 'get', 'pods', '-l', 'app=operator', '-o', 'json']),
  )
  return items.find((each: { metadata: { deletionTimestamp?: string } }) => !each.metadata.deletionTimestamp)
    ?.status.phase
}

export async function operatorOnline(): Promise<boolean> {
  const nodes = (await world.headscale(['nodes', 'list'])) as Array<{ name: string; online?: boolean }>
  return nodes.some((each) => each.name.startsWith('tailscale-operator') && each.online === true)
}

async function startCaddy() {
  await world.server('caddy').start()
  await waitFor(
    'Caddy',
    async () =>
      (await world.panda.run('curl', ['-sf', 'http://localhost:2019/config/'], { reject: false }))
        .exitCode === 0,
  )
}

/** A second API server over the same etcd, under a prefix of its own: another cluster, with the same credentials. */
async function startOtherCluster() {
  const certs = join(world.folder, 'certs')
  const command = [
    'kube-apiserver', '--etcd-servers=http://10.88.0.1:23790', '--etcd-prefix=/other', '--secure-port=6451', '--advertise-address=10.89.0.1',
    `--tls-cert-file=${certs}/apiserver.crt`, `--tls-private-key-file=${certs}/apiserver.key`, `--token-auth-file=${certs}/tokens.csv`,
    '--authorization-mode=RBAC', `--service-account-key-file=${certs}/service-accounts.key`, '--service-cluster-ip-range=10.97.0.0/16',
    `--service-account-signing-key-file=${certs}/service-accounts.key`, '--service-account-issuer=https://other.invalid',
  ] // biome-ignore format: a command line
  await world.panda.spawn('other-apiserver', command, { ready: { tcp: '10.89.0.1:6451' } })
  const ask = [
    '-sfk',
    '-H',
    'Authorization: Bearer admin-token',
    'https://127.0.0.1:6451/api/v1/namespaces/kube-system',
  ]
  await waitFor(
    'the other cluster',
    async () => (await world.panda.run('curl', ask, { reject: false })).exitCode === 0,
  )
}
