import type { Device } from '../systems/tailscale.ts'
import { type ClusterService, isClusterService, type Mesh } from './mesh.ts'
import { devicePorts } from './paths.ts'
import type { Who } from './policy-rules.ts'
import { remember } from './remember.ts'

/**
 * Who shall reach a service, from mesh.yaml's `allow` and the devices of the tailnet: plain JSON, for the journal. Nothing
 * if `allow` is empty: then onehop leaves the policy alone.
 */
export function wantedAccess(
  mesh: Mesh,
  service: ClusterService,
  devices: PolicyDevice[],
): Access | undefined {
  if (service.allow.length === 0) return undefined
  const whoIs = (name: string) => sourceOf(name, mesh.tailnet, devices)
  const sources = unique(service.allow.map(whoIs))
  return {
    service: service.name,
    tag: service.tag,
    owner: mesh.operator.tag,
    ports: devicePorts(service).map(({ port }) => port),
    sources,
    // Only devices: whether a person or a group is allowed as somebody else too, the names do not tell.
    neighbours: unique(everybodyIn(mesh).map(whoIs)).filter(
      (each) =>
        (each.machine || each.name.startsWith('tag:')) && !sources.some(({ name }) => name === each.name),
    ),
  }
}

export type Access = {
  service: string
  tag: string
  owner: string
  ports: number[]
  sources: Source[]
  neighbours: Source[]
}

/** Who is named in a rule. `machine`: a device; it is named by a host alias, or by its tag if that is only its own. */
export type Source = Who & { machine: boolean }
export type PolicyDevice = Pick<Device, 'name' | 'addresses' | 'tags' | 'routes'>

function sourceOf(name: string, tailnet: string, devices: PolicyDevice[]): Source {
  const suffix = `.${tailnet}`
  const alias = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name
  const isAddress = /^[\d.]+$/.test(name)
  if (isAddress || !/^[\w-]+$/.test(alias))
    return {
      name,
      machine: false,
      addresses: isAddress ? [name] : [],
      tags: name.startsWith('tag:') ? [name] : [],
    }
  const { named, bearers } = known(devices)
  const device = named.get(`${alias}${suffix}`.toLowerCase())
  const ownTag = device?.tags.find((tag) => bearers.get(tag) === 1)
  const { addresses = [], tags = [] } = device ?? {}
  return { name: ownTag ?? alias, machine: true, addresses, tags }
}

/** Everybody whom mesh.yaml lets in somewhere. */
const everybodyIn = remember((mesh: Mesh) => [
  ...new Set(mesh.services.filter(isClusterService).flatMap((each) => each.allow)),
])

/** Devices by their full name (the first of a name), and how many bear each tag. */
const known = remember((devices: PolicyDevice[]) => {
  const bearers = new Map<string, number>()
  for (const tag of devices.flatMap(({ tags }) => [...new Set(tags)]))
    bearers.set(tag, (bearers.get(tag) ?? 0) + 1)
  return { named: new Map(devices.toReversed().map((each) => [each.name.toLowerCase(), each])), bearers }
})

const unique = (sources: Source[]) => [...new Map(sources.map((each) => [each.name, each])).values()]
