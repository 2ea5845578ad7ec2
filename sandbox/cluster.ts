import { mkdirSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import pWaitFor from 'p-wait-for'
import { cniFolder, findProgram } from './cache.ts'
import { cgroupRoot } from './cgroups.ts'
import { imageArchive, type imageNames } from './images.ts'
import { addresses, podNetwork } from './network.ts'
import type { Servers } from './servers.ts'

export const nodeName = 'talos'
export const apiServer = `https://${addresses.node}:6450`
/** A user as mighty as the administrator, whose reads stand in the audit log too, so that they can be counted. */
export const counted = 'counted'
const etcd = `http://${addresses.node}:23790`
const containerd = '/run/containerd/containerd.sock'

type Cluster = { folder: string; servers: Servers }

/** etcd and the API server, answering. */
export async function startControlPlane({ folder, servers }: Cluster) {
  const certs = join(folder, 'certs')
  writeFileSync(
    join(certs, 'tokens.csv'),
    `admin-token,admin,admin,system:masters\n${counted}-token,${counted},${counted},system:masters\nkubelet-token,system:node:${nodeName},kubelet,system:nodes\n`,
  )
  for (const user of ['admin', 'kubelet']) writeKubeconfig(folder, user)
  writeFileSync(join(folder, 'audit.yaml'), auditPolicy)
  const node = 'node'
  await servers.add({
    name: 'etcd',
    host: node,
    // It loses its data with the sandbox anyway, and fsync is most of its time.
    command: [
      ...['etcd', '--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level=warn'],
      ...[
        '--listen-client-urls',
        etcd,
        '--advertise-client-urls',
        etcd,
        '--listen-peer-urls',
        'http://127.0.0.1:23800',
      ],
    ],
    ready: { tcp: new URL(etcd).host },
  })
  await servers.add({
    name: 'kube-apiserver',
    host: node,
    command: [
      ...[
        'kube-apiserver',
        `--etcd-servers=${etcd}`,
        '--secure-port=6450',
        `--advertise-address=${addresses.node}`,
      ],
      ...[`--tls-cert-file=${certs}/apiserver.crt`, `--tls-private-key-file=${certs}/apiserver.key`],
      ...[
        `--token-auth-file=${certs}/tokens.csv`,
        '--authorization-mode=Node,RBAC',
        '--allow-privileged=true',
      ],
      ...[`--service-account-key-file=${certs}/service-accounts.key`],
      ...[`--service-account-signing-key-file=${certs}/service-accounts.key`],
      '--service-account-issuer=https://kubernetes.default.svc',
      ...['--service-cluster-ip-range=10.96.0.0/16', '--service-node-port-range=3000-32767'],
      '--kubelet-preferred-address-types=InternalIP', // else `kubectl logs` asks a DNS that is not there
      ...[`--audit-policy-file=${folder}/audit.yaml`, `--audit-log-path=${folder}/logs/audit.log`],
      '--shutdown-delay-duration=0s',
    ],
    ready: { tcp: new URL(apiServer).host },
  })
  await until(
    'the API server',
    async () => (await kubectl(folder, ['get', '--raw', '/readyz'])).stdout === 'ok',
  )
}

/** containerd with our images, kubelet and the rest; the node is Ready afterwards. */
export async function startNode({ folder, servers }: Cluster, images: (keyof typeof imageNames)[]) {
  await startContainerd({ folder, servers }, images)
  const kubeconfig = `--kubeconfig=${folder}/admin.kubeconfig`
  writeFileSync(join(folder, 'kubelet.yaml'), kubeletConfig(folder))
  await startControllers({ folder, servers })
  await Promise.all([
    servers.add({
      name: 'kube-proxy',
      host: 'node',
      // In a namespace the conntrack sysctls are read-only, and it exits when it cannot write them.
      command: [
        ...['kube-proxy', kubeconfig, '--proxy-mode=nftables', `--cluster-cidr=${podNetwork}`],
        ...[`--hostname-override=${nodeName}`, '--conntrack-max-per-core=0', '--conntrack-min=0'],
      ],
    }),
    servers.add({
      name: 'kubelet',
      host: 'node',
      command: [
        ...[
          'kubelet',
          '--config',
          join(folder, 'kubelet.yaml'),
          '--kubeconfig',
          join(folder, 'kubelet.kubeconfig'),
        ],
        ...[`--hostname-override=${nodeName}`, `--node-ip=${addresses.node}`, `--root-dir=${folder}/kubelet`],
      ],
    }),
    servers.add({ name: 'coredns', host: 'node', command: ['coredns', '-conf', corefile(folder)] }),
  ])
  await kubectl(folder, ['apply', '-f', '-'], clusterDns)
  await until('the node', async () => {
    const { stdout } = await kubectl(folder, ['get', 'node', nodeName])
    return stdout.includes(' Ready ')
  })
}

async function startControllers({ folder, servers }: Cluster) {
  const kubeconfig = `--kubeconfig=${folder}/admin.kubeconfig`
  const certs = join(folder, 'certs')
  await servers.add({
    name: 'kube-controller-manager',
    host: 'node',
    command: [
      ...['kube-controller-manager', kubeconfig, '--leader-elect=false', `--root-ca-file=${certs}/ca.crt`],
      `--service-account-private-key-file=${certs}/service-accounts.key`,
      ...['--allocate-node-cidrs', `--cluster-cidr=${podNetwork}`],
    ],
  })
  await servers.add({
    name: 'kube-scheduler',
    host: 'node',
    command: ['kube-scheduler', kubeconfig, '--leader-elect=false'],
  })
}

async function startContainerd({ folder, servers }: Cluster, images: (keyof typeof imageNames)[]) {
  const cni = join(folder, 'cni')
  mkdirSync(cni, { recursive: true })
  writeFileSync(join(cni, '10-bridge.conflist'), JSON.stringify(cniConfig))
  const root = join(folder, 'containerd')
  mkdirSync(root)
  // An overlay cannot lie on an overlay, which is what a container's own disk is.
  const overlayMagic = 0x794c7630
  if (statfsSync(root).type === overlayMagic) await execa('mount', ['-t', 'tmpfs', 'tmpfs', root])
  writeFileSync(join(folder, 'containerd.toml'), containerdConfig({ root, cni }))
  await servers.add({
    name: 'containerd',
    host: 'node',
    command: ['containerd', '-c', join(folder, 'containerd.toml')],
    ready: { file: containerd },
  })
  const ctr = (...args: string[]) => execa(findProgram('ctr'), ['-a', containerd, '-n', 'k8s.io', ...args])
  await until('containerd', async () => (await ctr('version')).exitCode === 0)
  await Promise.all(images.map((image) => ctr('images', 'import', imageArchive(image))))
}

/** kubectl as the cluster's administrator. */
export const kubectl = (folder: string, args: string[], input?: string) =>
  execa(findProgram('kubectl'), [`--kubeconfig=${folder}/admin.kubeconfig`, ...args], input ? { input } : {})

/** Waits for a question to be answered yes; the last error is the cause of giving up. */
export async function until(
  what: string,
  question: () => boolean | Promise<boolean>,
  { seconds = 60, interval = 100 }: { seconds?: number; interval?: number } = {},
): Promise<void> {
  let cause: unknown
  const ask = async () => {
    try {
      return await question()
    } catch (thrown) {
      cause = thrown
      return false
    }
  }
  await pWaitFor(ask, { interval, timeout: seconds * 1000 }).catch((thrown: unknown) => {
    throw new Error(`${what}: not within ${seconds} s`, { cause: cause ?? thrown })
  })
}

export const kubeconfigText = ({
  folder,
  user,
  name,
}: {
  folder: string
  user: string
  name: string
}) => `apiVersion: v1
kind: Config
current-context: ${name}
contexts: [{ name: ${name}, context: { cluster: talos, user: ${name} } }]
clusters: [{ name: talos, cluster: { server: "${apiServer}", certificate-authority: ${folder}/certs/ca.crt } }]
users: [{ name: ${name}, user: { token: ${user}-token } }]
`

const writeKubeconfig = (folder: string, user: string) =>
  writeFileSync(join(folder, `${user}.kubeconfig`), kubeconfigText({ folder, user, name: `${user}@talos` }), {
    mode: 0o600,
  })

function corefile(folder: string): string {
  const file = join(folder, 'Corefile')
  writeFileSync(
    file,
    `.:5353 {\n  errors\n  kubernetes cluster.local {\n    kubeconfig ${folder}/admin.kubeconfig admin@talos\n  }\n  cache 5\n}\n`,
  )
  return file
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - { level: Metadata, users: [${counted}] }
  - { level: Metadata, verbs: [create, update, patch, delete, deletecollection] }
  - { level: None }
`

const cniConfig = {
  cniVersion: '1.0.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      // No masquerade: the router knows the way to the pods, and the plugin would need iptables.
      ipMasq: false,
      hairpinMode: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
  ],
}

// restrict_oom_score_adj: a root without CAP_SYS_RESOURCE may not lower it, and every pod would fail.
const containerdConfig = ({ root, cni }: { root: string; cni: string }) => `version = 2
root = "${root}"
state = "/run/containerd"
[grpc]
  address = "${containerd}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/base:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cniFolder()}"
    conf_dir = "${cni}"
`

// The short back-off keeps a killed pod from staying away for minutes. The taint is what Talos sets.
const kubeletConfig = (folder: string) => `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /${cgroupRoot}
failSwapOn: false
containerRuntimeEndpoint: unix://${containerd}
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
podLogsDir: ${folder}/logs/pods
crashLoopBackOff: { maxContainerRestartPeriod: 1s }
featureGates: { KubeletCrashLoopBackOffMax: true }
registerWithTaints: [{ key: node-role.kubernetes.io/control-plane, effect: NoSchedule }]
syncFrequency: 10s
# 100 turns image garbage collection off: on a machine whose disk is 85 % full kubelet would delete our images, which nobody can pull again.
imageGCHighThresholdPercent: 100
evictionHard: { nodefs.available: "1%", imagefs.available: "1%", memory.available: 100Mi, nodefs.inodesFree: "0%" }
`

// CoreDNS is a process on the node, so that the cluster needs no image for it. Without a cluster DNS the operator
// hangs silently before its first log line.
const clusterDns = `apiVersion: v1
kind: Service
metadata: { name: kube-dns, namespace: kube-system }
spec:
  clusterIP: 10.96.0.10
  ports:
    - { name: dns, port: 53, protocol: UDP, targetPort: 5353 }
    - { name: dns-tcp, port: 53, targetPort: 5353 }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: kube-dns-1, namespace: kube-system, labels: { kubernetes.io/service-name: kube-dns } }
addressType: IPv4
endpoints: [{ addresses: [${addresses.node}], conditions: { ready: true } }]
ports: [{ name: dns, port: 5353, protocol: UDP }, { name: dns-tcp, port: 5353, protocol: TCP }]
`
