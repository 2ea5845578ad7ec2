/**
 * The cluster and the tailnet of the simulation, as data, with an operator that reacts to annotations in its own time.
 * Annotations have owners as with server-side apply.
 */
export function createCluster({ random, changed, tailnet }: Options) {
  let version = 100
  let made = 0
  const objects = new Map<string, ServiceObject>()
  const proxies = new Map<string, Proxy>()
  const devices = new Map<string, TailnetDevice>()
  const pokes = new Map<string, NodeJS.Timeout>()

  const bump = (object: ServiceObject) => {
    object.version = ++version
    poke(object)
  }
  const poke = (object: ServiceObject, most = 900) => {
    const key = keyOf(object)
    if (!pokes.has(key))
      pokes.set(
        key,
        setTimeout(
          () => {
            pokes.delete(key)
            if (reconcile(object)) {
              version++
              poke(object)
              changed()
            }
          },
          50 + random() * most,
        ),
      )
  }
  const freeName = (asked: string) => {
    for (let suffix = 0; ; suffix++) {
      const name = `${asked}${suffix ? `-${suffix}` : ''}.${tailnet}`
      if (![...devices.values()].some((each) => each.name === name)) return name
    }
  }
  const addDevice = (hostname: string, tags: string[] = []): TailnetDevice => {
    version++
    const id = `n${++made}`
    const device = { id, hostname, name: freeName(hostname), address: `100.64.1.${made}`, tags }
    devices.set(id, device)
    return device
  }

  /** One step of the operator towards what the annotations ask for; whether there was one. */
  function reconcile(object: ServiceObject): boolean {
    const key = keyOf(object)
    const proxy = proxies.get(key)
    const held = object.finalizers.indexOf(finalizer)
    if (object.annotations.get('tailscale.com/expose')?.value !== 'true') {
      if (proxy?.deviceId) {
        devices.delete(proxy.deviceId)
        delete proxy.deviceId
        delete proxy.fqdn
      } else if (proxy) proxies.delete(key)
      else if (held >= 0) {
        object.finalizers.splice(held, 1)
        bump(object)
      } else return false
      return true
    }
    const hostname =
      object.annotations.get('tailscale.com/hostname')?.value ?? `${object.namespace}-${object.name}`
    const device = proxy?.deviceId ? devices.get(proxy.deviceId) : undefined
    if (held < 0) {
      object.finalizers.push(finalizer)
      bump(object)
    } else if (!proxy) proxies.set(key, { up: true })
    else if (!device)
      proxy.deviceId = addDevice(hostname, [object.annotations.get('tailscale.com/tags')?.value ?? '']).id
    else if (device.hostname !== hostname) {
      devices.delete(device.id)
      Object.assign(device, { hostname, name: freeName(hostname) })
      devices.set(device.id, device)
      delete proxy.fqdn
    } else if (!proxy.fqdn) proxy.fqdn = device.name
    else return false
    return true
  }

  return {
    /** Grows by each change of anything here. */
    version: () => version,
    objects,
    proxies,
    devices,
    addDevice,
    /** Whether the operator has nothing left to do, and every pod runs. */
    idle: () => pokes.size === 0 && [...proxies.values()].every((each) => each.up),
    add(object: Omit<ServiceObject, 'version' | 'uid' | 'type' | 'typeOwners'>) {
      const typed = { type: 'NodePort' as const, typeOwners: ['kubectl-client-side-apply'] }
      const service: ServiceObject = { ...object, ...typed, uid: `uid-${object.name}`, version: ++version }
      objects.set(keyOf(service), service)
      poke(service)
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
      bump(object)
      return true
    },
    /** A merge patch: what it changes belongs to `manager` alone. */
    merge(object: ServiceObject, manager: string, values: Record<string, string>): boolean {
      const before = stateOf(object)
      for (const [key, value] of Object.entries(values))
        if (object.annotations.get(key)?.value !== value)
          object.annotations.set(key, { value, owners: [manager] })
      if (stateOf(object) === before) return false
      bump(object)
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
      bump(object)
      return true
    },
    /** A merge patch of the type: what it changes belongs to `manager` alone. */
    mergeType(object: ServiceObject, manager: string, type: ServiceObject['type']): boolean {
      if (object.type === type) return false
      Object.assign(object, { type, typeOwners: [manager] })
      bump(object)
      return true
    },
    /** The pod of a proxy dies, and another one runs a little later. */
    killPod(key: string, milliseconds: number) {
      const proxy = proxies.get(key)
      if (!proxy) return
      proxy.up = false
      version++
      setTimeout(() => {
        proxy.up = true
        version++
        changed()
      }, milliseconds)
    },
  }
}

export type Cluster = ReturnType<typeof createCluster>
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
  ports: Array<{ name: string; port: number; nodePort?: number }>
}
type Proxy = { up: boolean; deviceId?: string; fqdn?: string }
type TailnetDevice = { id: string; name: string; hostname: string; address: string; tags: string[] }
type Options = { random: () => number; changed: () => void; tailnet: string }

export const finalizer = 'tailscale.com/finalizer'
export const keyOf = ({ namespace, name }: { namespace: string; name: string }) => `${namespace}/${name}`

const stateOf = (object: ServiceObject) =>
  JSON.stringify([...object.annotations].sort(([a], [b]) => (a < b ? -1 : 1)))
