import {
  type ClusterState,
  emptyCluster,
  type IngressObject,
  operatorChart,
  type ProxyObject,
  type Release,
  type ServiceObject,
  type TailnetDevice,
  type Values,
} from './cluster-state.ts'
import { isPeer, ownersOf } from './policy.ts'

/**
 * The simulated cluster and tailnet over their state, with an operator that reacts to what it finds in its own time.
 * Annotations have owners as with server-side apply. A state that was saved in the middle of something goes on from there.
 *
 * @param changed called after each change of the state: of one made `here`, by a call, or of the cluster's `own`, later
 */
export function createCluster({ random, changed, tailnet, state = emptyCluster('panda', tailnet) }: Options) {
  const { services, ingresses, proxies, devices, namespaces, proxyClasses } = state
  const pokes = new Map<string, NodeJS.Timeout>()
  let isStepping = false

  const touch = () => {
    state.version++
    if (!isStepping) changed('here')
  }
  const bump = (object: { version: number }, key: string) => {
    object.version = ++state.version
    poke(key)
    if (!isStepping) changed('here')
  }
  /** Lets whoever looks after something take its next step in a moment. */
  const poke = (key: string) => {
    if (!pokes.has(key))
      pokes.set(
        key,
        setTimeout(() => onPoke(key), 50 + random() * 900),
      )
  }
  const onPoke = (key: string) => {
    pokes.delete(key)
    isStepping = true
    const stepped = step(key)
    isStepping = false
    if (!stepped) return
    state.version++
    poke(key)
    changed('own')
  }
  const pokeAll = () => {
    for (const key of services.keys()) poke(`Service ${key}`)
    for (const key of ingresses.keys()) poke(`Ingress ${key}`)
    for (const key of proxyClasses.keys()) poke(`ProxyClass ${key}`)
  }

  function step(poked: string): boolean {
    const [kind, key = ''] = poked.split(' ')
    switch (kind) {
      case 'Service':
        return stepService(key)
      case 'Ingress':
        return stepIngress(key)
      case 'ProxyClass':
        return stepProxyClass(key)
      case 'namespace':
        return stepNamespace(key)
      default:
        return stepOperator()
    }
  }

  const addressOf = (number: number) => `100.64.${1 + Math.floor(number / 256)}.${number % 256}`
  const freeName = (asked: string) => {
    for (let suffix = 0; ; suffix++) {
      const name = `${asked}${suffix ? `-${suffix}` : ''}.${tailnet}`
      if (![...devices.values()].some((each) => each.name === name)) return name
    }
  }
  const addDevice = (hostname: string, tags: string[] = []): TailnetDevice => {
    const made = ++state.made
    const id = `n${made}`
    const device = { id, hostname, name: freeName(hostname), address: addressOf(made), tags }
    devices.set(id, device)
    touch()
    return device
  }

  /** The operator that runs, if one does. */
  const running = () => (state.operator?.running && !state.operator.going ? state.operator : undefined)

  /** One step of the operator itself, from its chart to its own device. */
  function stepOperator(): boolean {
    const { operator } = state
    if (!operator) {
      const held = [...proxyClasses.values()].some((each) => each.going)
      if (state.kinds !== 'going' || held) return false
      proxyClasses.clear()
      state.kinds = 'absent'
      return true
    }
    const device = operator.deviceId === undefined ? undefined : devices.get(operator.deviceId)
    if (operator.going) {
      // Helm does not know its device, which stays (tailscale/tailscale#10166).
      if (device) device.lastSeen = new Date().toISOString()
      delete state.operator
      return true
    }
    const trouble = state.oauthSecrets.has(operator.namespace)
      ? ownersOf(state.policy.text, operator.tag)
        ? undefined
        : `CrashLoopBackOff: creating operator authkey: requested tags [${operator.tag}] are invalid or not permitted (400)`
      : 'FailedMount: secret "operator-oauth" not found'
    if (!operator.running) {
      if (trouble === operator.trouble && trouble !== undefined) return false
      if (trouble === undefined) {
        delete operator.trouble
        operator.running = true
        pokeAll()
      } else operator.trouble = trouble
      return true
    }
    if (!device && trouble === undefined) {
      const known = (state.operatorDevices.get(operator.namespace) ?? []).find((id) => devices.has(id))
      operator.deviceId = known ?? addDevice(operator.hostname, [operator.tag]).id
      state.operatorDevices.set(operator.namespace, [operator.deviceId])
    } else if (device?.lastSeen !== undefined) delete device.lastSeen
    else return false
    return true
  }

  function stepProxyClass(name: string): boolean {
    const found = proxyClasses.get(name)
    if (!found || !running()) return false
    if (found.going) {
      proxyClasses.delete(name)
      poke('operator')
    } else if (found.ready) return false
    else {
      found.ready = true
      pokeAll()
    }
    return true
  }

  function stepNamespace(name: string): boolean {
    if (!namespaces.get(name)?.going) return false
    namespaces.delete(name)
    state.oauthSecrets.delete(name)
    state.operatorDevices.delete(name)
    for (const map of [services, ingresses, state.releases])
      for (const key of map.keys()) if (key.startsWith(`${name}/`)) map.delete(key)
    return true
  }

  /** One step of the operator towards what the annotations ask for; whether there was one. */
  function stepService(key: string): boolean {
    const object = services.get(key)
    if (!object || !running()) return false
    const asked = (name: string) => object.annotations.get(`tailscale.com/${name}`)?.value
    if (asked('expose') !== 'true') return withdrawProxy(key, object, `Service ${key}`)
    return makeProxy(key, object, {
      poked: `Service ${key}`,
      hostname: asked('hostname') ?? `${object.namespace}-${object.name}`,
      tags: asked('tags')?.split(',') ?? [],
      isPrivileged: true,
    })
  }

  function stepIngress(key: string): boolean {
    const object = ingresses.get(key)
    if (!object || !running()) return false
    const proxyKey = `ingress:${key}`
    if (object.going) {
      if (withdrawProxy(proxyKey, object, `Ingress ${key}`)) return true
      ingresses.delete(key)
      return true
    }
    const { hostname, tag } = object.wish
    const poked = `Ingress ${key}`
    if (makeProxy(proxyKey, object, { poked, hostname, tags: [tag], isPrivileged: false })) return true
    const proxy = proxies.get(proxyKey)
    if (!proxy?.fqdn || proxy.httpsEndpoint === proxy.fqdn) return false
    proxy.httpsEndpoint = proxy.fqdn
    return true
  }

  function makeProxy(key: string, object: Held, { poked, hostname, tags, isPrivileged }: Asked): boolean {
    const operator = running()
    if (!operator) return false
    const proxy = proxies.get(key)
    const device = proxy?.deviceId === undefined ? undefined : devices.get(proxy.deviceId)
    if (!object.finalizers.includes(finalizer)) {
      object.finalizers.push(finalizer)
      bump(object, poked)
    } else if (!proxy) {
      const { proxyClass, proxyTag, namespace } = operator
      if (proxyClass !== '' && !proxyClasses.get(proxyClass)?.ready) return false
      const wanted = tags.length > 0 ? tags : [proxyTag]
      if (!wanted.every((tag) => mayGive(tag))) return false
      proxies.set(key, { namespace, tags: wanted, up: true })
    } else if (!device) {
      const isAdmitted = !isPrivileged || namespaces.get(proxy.namespace)?.podSecurity === 'privileged'
      if (proxy.keySpent || !isAdmitted) return false
      proxy.deviceId = addDevice(hostname, proxy.tags).id
    } else if (device.hostname !== hostname) {
      devices.delete(device.id)
      Object.assign(device, { hostname, name: freeName(hostname) })
      devices.set(device.id, device)
      delete proxy.fqdn
    } else if (!proxy.fqdn) proxy.fqdn = device.name
    else return false
    return true
  }

  function withdrawProxy(key: string, object: Held, poked: string): boolean {
    const proxy = proxies.get(key)
    const held = object.finalizers.indexOf(finalizer)
    if (proxy?.deviceId !== undefined) {
      devices.delete(proxy.deviceId)
      delete proxy.deviceId
      delete proxy.fqdn
      delete proxy.keySpent
    } else if (proxy) proxies.delete(key)
    else if (held >= 0) {
      object.finalizers.splice(held, 1)
      bump(object, poked)
    } else return false
    return true
  }

  /** Whether the operator's OAuth client may give this tag to a device. */
  function mayGive(tag: string): boolean {
    const own = state.operator?.tag
    return own !== undefined && (tag === own || ownersOf(state.policy.text, tag)?.includes(own) === true)
  }

  const startPod = (proxy: ProxyObject, milliseconds: number) =>
    setTimeout(() => {
      proxy.up = true
      const device = proxy.deviceId === undefined ? undefined : devices.get(proxy.deviceId)
      delete device?.lastSeen
      state.version++
      changed('own')
    }, milliseconds)

  pokeAll()
  for (const key of namespaces.keys()) if (namespaces.get(key)?.going) poke(`namespace ${key}`)
  if (state.operator || state.kinds === 'going') poke('operator')
  for (const proxy of proxies.values()) if (!proxy.up) startPod(proxy, 50 + random() * 900)

  return {
    state,
    tailnet,
    /** Grows by each change of anything here. */
    version: () => state.version,
    objects: services,
    proxies,
    devices,
    addDevice,
    mayGive,
    /** Whether nobody has anything left to do, and every pod runs. */
    idle: () => pokes.size === 0 && [...proxies.values()].every((each) => each.up),

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
     * away, whoever owns it. This is how somebody else makes drift:
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
    /** Server-side apply of the type alone, by force; without one, it is withdrawn: a type that nobody owns is the default. */
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
type Held = { version: number; finalizers: string[] }
type Asked = { poked: string; hostname: string; tags: string[]; isPrivileged: boolean }
type Options = {
  random: () => number
  changed: (by: 'here' | 'own') => void
  tailnet: string
  state?: ClusterState
}

export const finalizer = 'tailscale.com/finalizer'
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
