import type { ClusterState, ProxyObject, TailnetDevice } from './cluster-state.ts'
import { ownersOf } from './policy.ts'

/**
 * What acts on its own in the simulated cluster: the operator, and what the API server finishes later. Each object that has
 * changed is poked, and then takes one step after the other, each some hundred milliseconds after the last, until there is
 * nothing left to do. A state that was saved between two steps goes on from there.
 */
export function createOperator({ random, changed, tailnet, state }: Options) {
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
  /** Schedules the next step of the controller that looks after this object. */
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

  // A state that was saved goes on.
  pokeAll()
  for (const key of namespaces.keys()) if (namespaces.get(key)?.going) poke(`namespace ${key}`)
  if (state.operator || state.kinds === 'going') poke('operator')
  for (const proxy of proxies.values()) if (!proxy.up) startPod(proxy, 50 + random() * 900)

  return {
    poke,
    pokeAll,
    bump,
    touch,
    addDevice,
    startPod,
    /** Whether nothing has a step left to take, and every pod runs. */
    idle: () => pokes.size === 0 && [...proxies.values()].every((each) => each.up),
  }
}

/** What has a finalizer of the operator. */
type Held = { version: number; finalizers: string[] }
type Asked = { poked: string; hostname: string; tags: string[]; isPrivileged: boolean }
type Options = {
  random: () => number
  changed: (by: 'here' | 'own') => void
  tailnet: string
  state: ClusterState
}

export const finalizer = 'tailscale.com/finalizer'
