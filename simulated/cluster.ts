import {
  type ClusterState,
  emptyCluster,
  type IngressObject,
  operatorChart,
  type Release,
  type ServiceObject,
  type TailnetDevice,
  type Values,
} from './cluster-state.ts'
import { createOperator } from './operator.ts'
import { isPeer } from './policy.ts'

/**
 * The simulated cluster and tailnet over their state, with an operator (operator.ts) that reacts to each change in its own
 * time. Annotations have owners as with server-side apply.
 *
 * @param changed called after each change of the state: of one made `here`, by a call, or of the cluster's `own`, later
 */
export function createCluster({ random, changed, tailnet, state = emptyCluster('panda', tailnet) }: Options) {
  const { services, ingresses, proxies, devices, namespaces, proxyClasses } = state
  const { poke, pokeAll, bump, touch, addDevice, startPod, idle } = createOperator({
    ...{ random, changed, tailnet, state },
  })

  return {
    state,
    tailnet,
    /** Grows by each change of anything here. */
    version: () => state.version,
    objects: services,
    proxies,
    devices,
    addDevice,
    idle,

    add(object: Omit<ServiceObject, 'version' | 'uid' | 'type' | 'typeOwners'> & Partial<ServiceObject>) {
      const typed = { type: 'NodePort' as const, typeOwners: ['kubectl-client-side-apply'] }
      const uid = `uid-${object.name}`
      const ports = object.ports.map((each) => ({ ...each }))
      const service: ServiceObject = { ...typed, uid, ...object, ports, version: 0 }
      for (const port of service.ports) if (service.type === 'NodePort') port.nodePort ??= port.port
      services.set(keyOf(service), service)
      bump(service, `Service ${keyOf(service)}`)
    },
    /** Server-side apply, by force: `manager` owns exactly these annotations then. @returns whether anything changed */
    apply(object: ServiceObject, manager: string, values: Record<string, string>): boolean {
      const before = stateOf(object)
      for (const [key, value] of Object.entries(values)) {
        const there = object.annotations.get(key)
        const owners = there?.value === value ? there.owners.filter((each) => each !== manager) : []
        object.annotations.set(key, { value, owners: [...owners, manager] })
      }
      for (const [key, there] of object.annotations) {
        if (key in values || !there.owners.includes(manager)) continue
        there.owners = there.owners.filter((each) => each !== manager)
        if (there.owners.length === 0) object.annotations.delete(key)
      }
      if (stateOf(object) === before) return false
      bump(object, `Service ${keyOf(object)}`)
      return true
    },
    /**
     * A merge patch, as `kubectl annotate` makes it: what it changes belongs to `manager` alone, null takes an annotation
     * away for all its owners. This is how somebody else makes drift:
     * `cluster.merge(service, 'kubectl-annotate', { 'tailscale.com/hostname': 'cache' })`.
     */
    merge(object: ServiceObject, manager: string, values: Record<string, string | null>): boolean {
      const before = stateOf(object)
      for (const [key, value] of Object.entries(values)) {
        if (value === null) object.annotations.delete(key)
        else if (object.annotations.get(key)?.value !== value)
          object.annotations.set(key, { value, owners: [manager] })
      }
      if (stateOf(object) === before) return false
      bump(object, `Service ${keyOf(object)}`)
      return true
    },
    /** Server-side apply of the type alone, by force; without one, it is withdrawn: a type without an owner is the default. */
    applyType(object: ServiceObject, manager: string, type?: ServiceObject['type']): boolean {
      const before = `${object.type} ${object.typeOwners}`
      const others = object.typeOwners.filter((each) => each !== manager)
      if (type) {
        object.typeOwners = [...(type === object.type ? others : []), manager]
        object.type = type
      } else object.typeOwners = others
      if (object.typeOwners.length === 0) object.type = 'ClusterIP'
      if (`${object.type} ${object.typeOwners}` === before) return false
      // The API server drops the numbers with the type.
      if (object.type === 'ClusterIP') for (const port of object.ports) delete port.nodePort
      bump(object, `Service ${keyOf(object)}`)
      return true
    },
    /** A merge patch of type and node ports: a type that it changes belongs to `manager` alone. */
    mergeType(
      object: ServiceObject,
      manager: string,
      { type, ports }: { type: ServiceObject['type']; ports: Array<{ port: number; nodePort?: number }> },
    ): boolean {
      const before = JSON.stringify([object.type, object.ports])
      if (object.type !== type) Object.assign(object, { type, typeOwners: [manager] })
      for (const each of object.ports) {
        const nodePort =
          ports.find(({ port }) => port === each.port)?.nodePort ?? each.nodePort ?? freeNodePort()
        if (type === 'NodePort') each.nodePort = nodePort
        else delete each.nodePort
      }
      if (JSON.stringify([object.type, object.ports]) === before) return false
      bump(object, `Service ${keyOf(object)}`)
      return true
    },
    /** The pod of a proxy dies, and another one runs a little later. */
    killPod(key: string, milliseconds: number) {
      const proxy = proxies.get(key)
      if (!proxy) return
      proxy.up = false
      const device = proxy.deviceId === undefined ? undefined : devices.get(proxy.deviceId)
      if (device) device.lastSeen = new Date().toISOString()
      touch()
      startPod(proxy, milliseconds)
    },

    createIngress(namespace: string, name: string, wish: IngressObject['wish']) {
      const key = `${namespace}/${name}`
      const uid = `uid-ingress-${name}-${state.version}`
      const ingress = { namespace, name, uid, version: 0, ours: true, wish: { ...wish }, finalizers: [] }
      ingresses.set(key, ingress)
      bump(ingress, `Ingress ${key}`)
    },
    /** It goes at once, or when the operator has taken its finalizer off. */
    deleteIngress(key: string) {
      const found = ingresses.get(key)
      if (!found) return
      if (found.finalizers.length === 0) ingresses.delete(key)
      else found.going = true
      bump(found, `Ingress ${key}`)
    },

    applyNamespace(name: string, podSecurity: string) {
      const found = namespaces.get(name)
      namespaces.set(name, { ...found, podSecurity, ours: found?.ours ?? true })
      touch()
      pokeAll()
    },
    /** It goes in a moment, with everything in it. */
    deleteNamespace(name: string) {
      const found = namespaces.get(name)
      if (!found) return
      found.going = true
      touch()
      poke(`namespace ${name}`)
    },
    applyOAuthSecret(namespace: string, hash: string) {
      state.oauthSecrets.set(namespace, { ours: true, hash })
      touch()
      poke('operator')
    },
    /** The operator's Secrets: its OAuth client, and what it keeps of its own device. */
    deleteOperatorSecrets(namespace: string) {
      state.oauthSecrets.delete(namespace)
      state.operatorDevices.delete(namespace)
      touch()
    },
    applyProxyClass(name: string) {
      proxyClasses.set(name, { ready: false, ...proxyClasses.get(name), ours: true })
      touch()
      poke(`ProxyClass ${name}`)
    },
    /** It goes when the operator has taken its finalizer off. */
    deleteProxyClass(name: string) {
      const found = proxyClasses.get(name)
      if (!found) return
      // The operator puts its finalizer on what it has found good.
      if (found.ready) found.going = true
      else proxyClasses.delete(name)
      touch()
      poke(`ProxyClass ${name}`)
    },

    /** Keeps a release; that of the operator's chart brings the operator, or another version of it. */
    install(namespace: string, release: string, { chart, version, values }: Omit<Release, 'revision'>) {
      const key = `${namespace}/${release}`
      const revision = (state.releases.get(key)?.revision ?? 0) + 1
      state.releases.set(key, { chart, version, values: structuredClone(values), revision })
      if (chart === operatorChart) {
        const earlier = state.operator
        const asked = { namespace, release, ...operatorOf(values, version) }
        const isSame =
          earlier &&
          !earlier.going &&
          Object.entries(asked).every(([name, value]) => earlier[name as keyof typeof asked] === value)
        const { deviceId } = earlier ?? {}
        if (!isSame)
          state.operator = { ...asked, running: false, ...(deviceId !== undefined && { deviceId }) }
        state.kinds = 'there'
        poke('operator')
      }
      touch()
    },
    /** The operator's pod ends a moment later; what it made stays, and so does its device. */
    uninstall(namespace: string, release: string) {
      if (!state.releases.delete(`${namespace}/${release}`)) return
      const { operator } = state
      if (operator?.namespace === namespace && operator.release === release) {
        operator.going = true
        state.kinds = 'going'
        for (const each of proxyClasses.values()) each.going = true
        poke('operator')
      }
      touch()
    },

    setPolicy(text: string) {
      state.policy.text = text
      touch()
      // Who was refused a login key asks again.
      for (const [key, { annotations }] of services)
        if (annotations.get('tailscale.com/expose')?.value === 'true' && !proxies.has(key))
          poke(`Service ${key}`)
      for (const key of ingresses.keys()) if (!proxies.has(`ingress:${key}`)) poke(`Ingress ${key}`)
      if (state.operator && !state.operator.running) poke('operator')
    },
    /** @returns whether it was there */
    deleteDevice(id: string): boolean {
      if (!devices.delete(id)) return false
      for (const proxy of proxies.values()) if (proxy.deviceId === id) proxy.keySpent = true
      if (state.operator?.deviceId === id) poke('operator')
      touch()
      return true
    },
    machine,
    isPeer: isPeerOfMachine,
    /** The devices that this machine's tailscaled knows. */
    peers: () => [...devices.values()].filter((each) => each.id !== state.machine && isPeerOfMachine(each)),
  }

  /** This machine's own device. */
  function machine(): TailnetDevice {
    const found = devices.get(state.machine)
    if (!found) throw new Error(`no device ${state.machine} for this machine`)
    return found
  }

  function isPeerOfMachine(device: TailnetDevice): boolean {
    const { enforced, text } = state.policy
    return !enforced || isPeer(text, machine(), device)
  }

  function freeNodePort(): number {
    const taken = new Set(
      [...services.values()].flatMap(({ ports }) => ports.map(({ nodePort }) => nodePort)),
    )
    for (let port = 30000; ; port++) if (!taken.has(port)) return port
  }
}

export type Cluster = ReturnType<typeof createCluster>
type Options = {
  random: () => number
  changed: (by: 'here' | 'own') => void
  tailnet: string
  state?: ClusterState
}

export const keyOf = ({ namespace, name }: { namespace: string; name: string }) => `${namespace}/${name}`

const stateOf = (object: ServiceObject) =>
  JSON.stringify([...object.annotations].sort(([a], [b]) => (a < b ? -1 : 1)))

/** What the operator's Deployment takes from the values of its chart. */
function operatorOf(values: Values, version: string) {
  const at = (...path: string[]) =>
    path.reduce<unknown>((node, key) => (node as Values | undefined)?.[key], values)
  const [tag] = at('operatorConfig', 'defaultTags') as string[]
  return {
    version: String(at('operatorConfig', 'image', 'tag') ?? version).replace(/^v/, ''),
    hostname: String(at('operatorConfig', 'hostname')),
    tag: tag ?? '',
    proxyTag: String(at('proxyConfig', 'defaultTags')),
    proxyClass: String(at('proxyConfig', 'defaultProxyClass')),
  }
}
