/**
 * So many services as a cluster, a Caddyfile, a policy and a mesh.yaml have them. Each has a Service, an EndpointSlice, what
 * the operator keeps of a proxy (Secret, StatefulSet, Pod), a site of Caddy, and a tag in the policy; every other one has
 * a rule by hand. No pod starts.
 */
export const many = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index)

export const objectsOf = (index: number): object[] => objects(nameOf(index), index)

export const caddyfileOf = (all: number[]) =>
  all.map((index) => `${siteOf(index)} {\n\treverse_proxy localhost:${portMapOf(index)}\n}\n`).join('\n')

/** The part of mesh.yaml. */
export const servicesOf = (all: number[]) =>
  `services:\n${all
    .map(
      (index) =>
        `  ${nameOf(index)}: { service: ${namespace}/${nameOf(index)}, ports: [{ port: 80, portMap: ${portMapOf(index)} }], routes: { "${siteOf(index)}": 80 }, allow: [panda, clanker-001] }\n`,
    )
    .join('')}`

export const policyOf = (all: number[]) => `{
  "hosts": {"panda": "100.64.0.1", "clanker-001": "100.64.0.2"},
  "tagOwners": {
    "tag:k8s-operator": ["joel@"],
${all.map((index) => `    "tag:svc-${nameOf(index)}": ["tag:k8s-operator"],`).join('\n')}
  },
  "grants": [
    {"src": ["joel@"], "dst": ["panda", "clanker-001"], "ip": ["*"]},
${all
  .filter((index) => index % 2 === 0)
  .map(
    (index) =>
      `    {"src": ["panda", "clanker-001"], "dst": ["tag:svc-${nameOf(index)}"], "ip": ["tcp:80"]}, // by hand`,
  )
  .join('\n')}
  ],
  "tests": [{"src": "panda", "accept": ["clanker-001:22"]}],
}
`

/** What the journal has of one that is moved, though nobody has moved it: its annotations and its route are drift. */
export function movedEntryOf(index: number) {
  const name = nameOf(index)
  const of = { namespace, name, uid: '' }
  const annotations = {
    'tailscale.com/expose': { value: 'true', manager: 'onehop' },
    'tailscale.com/hostname': { value: name, manager: 'onehop' },
    'tailscale.com/tags': { value: `tag:svc-${name}`, manager: 'onehop' },
  }
  const routes = (upstream: string) => ({ file: '', routes: [{ site: siteOf(index), upstream }] })
  return {
    ...{ version: 1, service: name, attempt: 1, state: 'moved', request: 'r', run: 'r', cluster: 'c' },
    ...{ tailnet: 'tail7af24.ts.net', ended: {} },
    changes: [
      { id: 'expose', before: { ...of, annotations: {} }, target: { ...of, annotations }, undone: false },
      {
        ...{ id: 'switch', before: routes(`localhost:${portMapOf(index)}`), undone: false },
        target: routes(`${name}.tail7af24.ts.net:80`),
      },
    ],
  }
}

export const namespace = 'scale'
const nameOf = (index: number) => `s${index}`
const siteOf = (index: number) => `http://localhost:${10_000 + index}`
const portMapOf = (index: number) => 20_000 + index

/** A Service without pods of its own, and a proxy as the operator leaves it; nothing starts. */
function objects(name: string, index: number): object[] {
  const address = `10.244.${100 + Math.floor(index / 250)}.${1 + (index % 250)}`
  const labels = {
    'tailscale.com/managed': 'true',
    'tailscale.com/parent-resource': name,
    'tailscale.com/parent-resource-ns': namespace,
    'tailscale.com/parent-resource-type': 'svc',
  }
  const proxy = { name: `ts-${name}`, namespace: 'tailscale', labels }
  const containers = [{ name: 'tailscale', image: 'localhost/base:1' }]
  const value = (text: string) => Buffer.from(text).toString('base64')
  return [
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace } },
      spec: { type: 'NodePort', ports: [{ name: 'http', port: 80 }] },
    },
    {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    },
    {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { ...proxy, name: `ts-${name}-0` } },
      // About as large as what a tailscaled keeps there.
      data: {
        device_id: value(`n${index}`),
        device_ips: value(`["${address}"]`),
        profile: value('x'.repeat(3000)),
      },
    },
    {
      ...{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: proxy },
      spec: {
        ...{ replicas: 0, serviceName: name, selector: { matchLabels: { app: name } } },
        template: { metadata: { labels: { app: name } }, spec: { containers } },
      },
    },
    {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { ...proxy, name: `ts-${name}-0` } },
      // Nobody's to schedule, so that it stays as it is.
      spec: { schedulerName: 'nobody', containers },
    },
  ]
}
