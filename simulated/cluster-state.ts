/**
 * Everything that the simulated cluster and tailnet know, as plain data: Maps, arrays, strings, numbers and booleans, so that
 * a world can be written to a file and go on later. Only createCluster (cluster.ts) changes it.
 */
export type ClusterState = {
  /** Grows by each change of anything here; a resourceVersion is taken from it. */
  version: number
  /** How many devices were made: their ids and addresses count on. */
  made: number
  /** The UID of namespace kube-system. */
  id: string
  namespaces: Map<string, Namespace>
  /** By `namespace/name`, as all that follow which live in a namespace. */
  services: Map<string, ServiceObject>
  ingresses: Map<string, IngressObject>
  /** What the operator made, by `namespace/service` or `ingress:namespace/name`. */
  proxies: Map<string, ProxyObject>
  releases: Map<string, Release>
  /** What `helm upgrade --install` can install, by the reference that it is asked for. */
  charts: Map<string, Chart>
  operator?: Operator
  /** The Secret with the operator's OAuth client, by namespace. Of the client only a hash is kept. */
  oauthSecrets: Map<string, { ours: boolean; hash: string }>
  /** The devices that the operator has written down as its own, by namespace. */
  operatorDevices: Map<string, string[]>
  proxyClasses: Map<string, ProxyClass>
  /** The definitions of the operator's kinds (CRDs). */
  kinds: 'absent' | 'there' | 'going'
  /** By id. */
  devices: Map<string, TailnetDevice>
  policy: Policy
  /** OAuth clients of Tailscale, by the role that they have here. */
  clients: Map<'onehop' | 'operator', OAuthClient>
  /** The device of the machine on which onehop, Caddy and the probes run. */
  machine: string
  /** Docker's port map: port of that machine -> node port of the cluster. */
  portMaps: Map<number, number>
  /** Processes of that machine that listen on a port of it. */
  processes: Map<number, { name: string; speaks: Speaks }>
  faults: Fault[]
}

export type Namespace = {
  podSecurity: string
  /** Made by onehop. */
  ours: boolean
  going?: boolean
}

export type ServiceObject = {
  namespace: string
  name: string
  uid: string
  version: number
  clusterIP: string
  annotations: Map<string, { value: string; owners: string[] }>
  type: 'NodePort' | 'ClusterIP'
  typeOwners: string[]
  finalizers: string[]
  ports: ServicePort[]
  helmRelease?: string
  /** What its backend says that it is, such as the run_id of a Redis; by default the name of the Service. */
  instance?: string
  /** Its pods do not answer. */
  down?: boolean
  /** Its pods open their ports on the node itself (hostNetwork), whatever the type of the Service. */
  onNode?: boolean
}
/** `nodePort` is there on a NodePort only. `targetPort` is that of the pod where it is another one. */
export type ServicePort = {
  name: string
  port: number
  targetPort?: number
  nodePort?: number
  protocol?: string
  speaks?: Speaks
}
/** What a client hears at a port; what speaks anything answers every probe. */
export type Speaks = 'http' | 'redis' | 'other' | 'anything'

export type IngressObject = {
  namespace: string
  name: string
  uid: string
  version: number
  ours: boolean
  wish: { hostname: string; tag: string; service: string; port: number }
  finalizers: string[]
  going?: boolean
}

/** `tags` are those of its login key, which is made once. `namespace` is the operator's. */
export type ProxyObject = {
  namespace: string
  tags: string[]
  up: boolean
  deviceId?: string
  fqdn?: string
  httpsEndpoint?: string
  /** Its device was deleted: it can never log in again (tailscale/tailscale#20744). */
  keySpent?: boolean
}

export type Release = { chart: string; version: string; revision: number; values: Values }
export type Values = { [key: string]: unknown }
/** `version` where the chart lies in a folder. `requires`: without that value its templates fail with that message. */
export type Chart = {
  name: string
  version?: string
  values: Values
  requires?: { value: string; message: string }
}

/** The operator's Deployment and its pod. */
export type Operator = {
  namespace: string
  release: string
  version: string
  hostname: string
  tag: string
  /** The tag of a proxy that asks for none. */
  proxyTag: string
  /** The ProxyClass that every proxy waits for; '' for none. */
  proxyClass: string
  running: boolean
  /** Why its pod does not run. */
  trouble?: string
  /** Uninstalled, and its pod has not ended yet. */
  going?: boolean
  deviceId?: string
}
export type ProxyClass = { ours: boolean; ready: boolean; going?: boolean }

/** `user` is the owner of a device without tags. `lastSeen` is there while it is offline. */
export type TailnetDevice = {
  id: string
  name: string
  hostname: string
  address: string
  tags: string[]
  user?: string
  lastSeen?: string
}

/** `enforced`: whether it decides who sees and reaches whom; where it is not, everybody reaches everybody. */
export type Policy = { text: string; enforced: boolean; managedElsewhere?: string }
/** `makesKeys` and `deletes`: what its scopes allow. */
export type OAuthClient = { id: string; tags: string[]; makesKeys: boolean; deletes: boolean }

/** What goes wrong on purpose. `service` is `namespace/name`. */
export type Fault = {
  /** Caddy gets no answer from the device name of that service, while every other client does. */
  kind: 'caddy-cannot-dial'
  service: string
}

/** A cluster without services and without the operator, and a tailnet of one machine. */
export function emptyCluster(machine = 'panda', tailnet = 'sim.ts.net'): ClusterState {
  return {
    version: 100,
    made: 0,
    id: 'uid-kube-system',
    namespaces: new Map([['kube-system', { podSecurity: '', ours: false }]]),
    services: new Map(),
    ingresses: new Map(),
    proxies: new Map(),
    releases: new Map(),
    charts: new Map([[operatorChart, { name: operatorChart, values: operatorDefaults }]]),
    oauthSecrets: new Map(),
    operatorDevices: new Map(),
    proxyClasses: new Map(),
    kinds: 'absent',
    devices: new Map([
      [
        machine,
        {
          ...{ id: machine, name: `${machine}.${tailnet}`, hostname: machine, address: '100.64.0.1' },
          ...{ tags: [], user: 'joel@' },
        },
      ],
    ]),
    policy: { text: '{}\n', enforced: false },
    clients: new Map([
      ['onehop', { id: 'k1onehopCNTRL', tags: [], makesKeys: false, deletes: false }],
      ['operator', { id: 'k2operatorCNTRL', tags: ['tag:k8s-operator'], makesKeys: true, deletes: true }],
    ]),
    machine,
    portMaps: new Map(),
    processes: new Map(),
    faults: [],
  }
}

export const operatorChart = 'tailscale-operator'
/** Of the chart's own values, those that are read here. */
const operatorDefaults: Values = {
  operatorConfig: { hostname: 'tailscale-operator', defaultTags: ['tag:k8s-operator'] },
  proxyConfig: { defaultTags: 'tag:k8s', defaultProxyClass: '' },
}
