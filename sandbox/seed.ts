import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { findProgram } from './cache.ts'
import { kubeconfigText, kubectl } from './cluster.ts'
import { addProgram, type Host } from './hosts.ts'
import { imageNames } from './images.ts'
import { oauthClients } from './tailnet.ts'

/** The cluster's services as the user has them; LiveKit and the PDS are Helm releases. */
export const seedServices = ['redis', 'qdrant', 'inngest', 'livekit', 'pds', 'typesense'] as const
export type SeedService = (typeof seedServices)[number]

/** Inngest's keys must be bare hex of even length: it refuses its cloud's own format. */
const inngestKeys = { event: 'e7ba11c0ffee0123456789abcdef0123', signing: '5164'.repeat(16) }

/** Port map of panda: port of the machine -> NodePort. The PDS is the asymmetric one. */
export const portMaps: Record<number, number> = {
  ...Object.fromEntries([6379, 6333, 6334, 8288, 8289, 7880, 7881, 8108].map((port) => [port, port])),
  9627: 3000,
}

type Seed = { folder: string; names: readonly SeedService[]; inngestArgs?: string[] }

/** Applies the services the way the user did, by client-side `kubectl apply` and `helm install`, and waits for their pods. */
export async function applySeed({ folder, names, inngestArgs = [] }: Seed) {
  await kubectl(folder, ['apply', '-f', '-'], namespace)
  const manifests = names.flatMap((name) => manifestOf({ name, folder, inngestArgs }) ?? [])
  if (manifests.length > 0) await kubectl(folder, ['apply', '-f', '-'], manifests.join('---\n'))
  await Promise.all(names.flatMap((name) => installRelease(folder, name) ?? []))
  const rollouts = names.map((name) =>
    kubectl(folder, ['-n', 'joelclaw', 'rollout', 'status', `statefulset/${name}`, '--timeout=60s']),
  )
  await Promise.all(rollouts)
}

/** Files of panda's user, and what stands on his PATH. */
export function furnishPanda({
  folder,
  panda,
  operatorChart,
}: {
  folder: string
  panda: Host
  operatorChart: string
}) {
  const write = (path: string, text: string) => {
    mkdirSync(join(panda.home, path, '..'), { recursive: true })
    writeFileSync(join(panda.home, path), text, { mode: 0o600 })
  }
  write('.kube/config', kubeconfigText({ folder, user: 'admin', name: 'admin@talos' }))
  const secrets = {
    'onehop-client-id': oauthClients.onehop.id,
    'onehop-client-secret': oauthClients.onehop.secret,
    'operator-client-id': oauthClients.operator.id,
    'operator-client-secret': oauthClients.operator.secret,
    'inngest-event-key': inngestKeys.event,
    'inngest-signing-key': inngestKeys.signing,
  }
  for (const [name, value] of Object.entries(secrets)) write(`.config/onehop/${name}`, `${value}\n`)
  mkdirSync(join(panda.home, '.local/certs'), { recursive: true })
  for (const end of ['crt', 'key']) {
    const name = `panda.tail7af24.ts.net.${end}`
    cpSync(join(folder, 'certs', name), join(panda.home, '.local/certs', name))
  }
  write('.local/caddy/Caddyfile', readSeed('Caddyfile'))
  if (existsSync(seedFile('mesh.yaml'))) {
    write('mesh.yaml', readSeed('mesh.yaml').replaceAll('$' + '{OPERATOR_CHART}', operatorChart))
  }
  write(
    'docker-inspect.json',
    JSON.stringify([{ Name: '/talos', HostConfig: { PortBindings: portBindings() } }], null, 2),
  )
  addProgram(
    panda,
    'docker',
    `#!/bin/sh\n[ "$1" = inspect ] || { echo "docker: only inspect here" >&2; exit 1; }\nexec cat ${panda.home}/docker-inspect.json\n`,
  )
}

export const readSeed = (name: string) => readFileSync(seedFile(name), 'utf8')

const seedFile = (name: string) => fileURLToPath(new URL(`./seed/${name}`, import.meta.url))

const portBindings = () =>
  Object.fromEntries(
    Object.entries(portMaps).map(([port, nodePort]) => [
      `${nodePort}/tcp`,
      [{ HostIp: '0.0.0.0', HostPort: port }],
    ]),
  )

const namespace = `apiVersion: v1
kind: Namespace
metadata: { name: joelclaw, labels: { pod-security.kubernetes.io/enforce: privileged } }
`

function manifestOf({
  name,
  folder,
  inngestArgs,
}: {
  name: SeedService
  folder: string
  inngestArgs: string[]
}) {
  const data = (path: string) => ({
    name: 'data',
    hostPath: { path: join(folder, 'volumes', path), type: 'DirectoryOrCreate' },
  })
  switch (name) {
    case 'redis':
      return manifest({
        name,
        ports: { redis: 6379 },
        image: imageNames.redis,
        command: [
          'redis-server',
          '--bind',
          '0.0.0.0',
          '--protected-mode',
          'no',
          '--appendonly',
          'yes',
          '--dir',
          '/data',
        ],
        volumes: [data('redis')],
      })
    case 'inngest':
      return manifest({
        name,
        // Not `inngest`: Kubernetes would set INNGEST_PORT in every pod, and the server reads it as a flag.
        service: 'inngest-svc',
        ports: { api: 8288, connect: 8289 },
        image: imageNames.inngest,
        command: [
          'inngest',
          'start',
          '--host',
          '0.0.0.0',
          '--sqlite-dir',
          '/data',
          '--poll-interval',
          '0',
          ...inngestArgs,
        ],
        volumes: [data('inngest')],
        secret: { INNGEST_EVENT_KEY: inngestKeys.event, INNGEST_SIGNING_KEY: inngestKeys.signing },
        health: '/health',
      })
    case 'qdrant':
      return manifest({ name, ports: { http: 6333, grpc: 6334 }, ...standIn([6333, 6334]) })
    case 'typesense':
      return manifest({ name, ports: { http: 8108 }, ...standIn([8108]) })
    case 'livekit':
    case 'pds':
      return undefined // see releases
  }
}

const releases = {
  livekit: [
    { name: 'http', port: 7880, nodePort: 7880 },
    { name: 'rtc', port: 7881, nodePort: 7881 },
  ],
  pds: [{ name: 'http', port: 3000, nodePort: 3000 }],
}

function installRelease(folder: string, name: SeedService) {
  if (name !== 'livekit' && name !== 'pds') return undefined
  const chart = fileURLToPath(new URL('./chart', import.meta.url))
  const args = [
    'upgrade',
    '--install',
    name,
    chart,
    '--namespace',
    'joelclaw',
    '--set-json',
    `ports=${JSON.stringify(releases[name])}`,
  ]
  return execa(findProgram('helm'), [...args, `--kubeconfig=${folder}/admin.kubeconfig`], {
    env: { HOME: folder },
  })
}

/** Same contract as the chart's: 200 on every port, and an id of the running pod at /instance. */
const standIn = (ports: number[]) => ({
  image: imageNames.base,
  command: [
    'sh',
    '-c',
    [
      'mkdir -p /www; cat /proc/sys/kernel/random/uuid > /www/instance',
      `echo '{"ok":true}' > /www/index.html; echo '{"ok":true}' > /www/health`,
      ...ports.map((port) => `httpd -p ${port} -h /www`),
      'exec sleep 1000000000',
    ].join('\n'),
  ],
  health: '/health',
})

type Workload = {
  name: string
  service?: string
  ports: Record<string, number>
  image: string
  command: string[]
  volumes?: { name: string; hostPath: { path: string; type: string } }[]
  secret?: Record<string, string>
  health?: string
}

function manifest({
  name,
  service = name,
  ports,
  image,
  command,
  volumes = [],
  secret,
  health,
}: Workload): string {
  const [firstPort = 0] = Object.values(ports)
  const metadata = { name, namespace: 'joelclaw' }
  const container = {
    name,
    image,
    imagePullPolicy: 'Never',
    command,
    ports: Object.entries(ports).map(([portName, containerPort]) => ({ name: portName, containerPort })),
    readinessProbe: {
      ...(health ? { httpGet: { path: health, port: firstPort } } : { tcpSocket: { port: firstPort } }),
      periodSeconds: 1,
    },
    volumeMounts: volumes.map((volume) => ({ name: volume.name, mountPath: '/data' })),
    ...(secret ? { envFrom: [{ secretRef: { name: `${name}-keys` } }] } : {}),
  }
  const pod = {
    terminationGracePeriodSeconds: 1,
    tolerations: [{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }],
    containers: [container],
    volumes,
  }
  const objects = [
    ...(secret
      ? [
          {
            apiVersion: 'v1',
            kind: 'Secret',
            metadata: { ...metadata, name: `${name}-keys` },
            stringData: secret,
          },
        ]
      : []),
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata,
      spec: {
        serviceName: service,
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { app: name } }, spec: pod },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: service },
      spec: {
        type: 'NodePort',
        selector: { app: name },
        ports: Object.entries(ports).map(([portName, port]) => ({
          name: portName,
          port,
          targetPort: port,
          nodePort: port,
        })),
      },
    },
  ]
  return objects.map((object) => `${JSON.stringify(object)}\n`).join('---\n')
}
