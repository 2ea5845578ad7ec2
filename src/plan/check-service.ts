import { OnehopError } from '../errors.ts'
import { failed, good, type ServiceJudge, unless, type View } from './check-judge.ts'
import { type CheckId, codesOf, type Only } from './check-table.ts'
import { findDevice, namesProblem, silentPort } from './device-problems.ts'
import { lookup } from './lookup.ts'
import type { ClusterService } from './mesh.ts'
import { deviceName, hasOldPath, pathsOf, proxyKey } from './paths.ts'

/** One service: what a move asks for, and what holds of it once it is moved. */
export const serviceChecks = {
  'service-exists': byPreflight('service-exists'),
  'service-ports': byPreflight('service-ports'),
  'service-endpoints': byPreflight('service-endpoints'),
  'service-settled': (view, service) => {
    const entry = entryOf(view, service)
    if (entry?.state === 'rollback-incomplete')
      return failed('rollback-pending', { service: service.name, state: entry.state })
    return unless(
      view.problems(service).find(({ code }) => code === 'moved-otherwise'),
      entry?.state ?? 'planned',
    )
  },
  'name-free': byPreflight('name-free', ({ hostname }) => hostname),
  'tag-owned': byPreflight('tag-owned', ({ tag }) => tag),
  'device-tag': byPreflight('device-tag'),
  'routes-in-file': byPreflight('routes-in-file'),
  'ingress-free': byPreflight('ingress-free'),
  'certificates-left': byPreflight('certificates-left'),
  'port-map-answers': ({ facts }, { name }) => {
    const asked = facts.paths[name]?.portMaps
    for (const { target, answer } of asked ?? [])
      if (!answer.ok)
        return failed('old-path-silent', {
          path: `${target.host}:${target.port}`,
          service: name,
          message: answer.message,
        })
    return asked && good(asked.map(({ target, answer }) => `${target.port} in ${answer.ms} ms`).join(', '))
  },
  'device-made': ({ mesh, facts }, service) => {
    const found = findDevice(mesh, service, facts.snapshot.cluster?.proxies[proxyKey(service)])
    return found instanceof OnehopError ? { failure: found.toJSON() } : good(deviceName(mesh, service))
  },
  'device-known': ({ mesh, facts }, service) => {
    const name = deviceName(mesh, service)
    const peer = facts.peers?.[name]
    // While the control server is away tailscaled may forget which relay a peer has, and still reach it.
    const answers = facts.paths[service.name]?.device?.every(({ answer }) => answer.ok)
    if (!peer || !(peer.reachable || answers)) return failed('peer-unknown', { name, tag: service.tag })
    return good(peer.direct ? 'direct' : 'by a relay')
  },
  'dns-right': ({ mesh, facts }, service) => {
    const name = deviceName(mesh, service)
    const names = facts.paths[service.name]?.names
    const address = facts.peers?.[name]?.addresses[0]
    if (!names || address === undefined) return undefined
    return unless(namesProblem(names, { name, address })?.toJSON(), address)
  },
  'device-answers': (view, service) => {
    const asked = view.facts.paths[service.name]?.device
    for (const { target, answer } of asked ?? [])
      if (!answer.ok) return { failure: silentPort(service, target, answer).toJSON() }
    return (
      asked &&
      good(
        pathsOf(view.mesh, service)
          .map(({ device }) => device)
          .join(', '),
      )
    )
  },
  'not-fallen-back': (view, service) => {
    const entry = entryOf(view, service)
    if (entry?.state !== 'moved' || !hasOldPath(service)) return undefined
    if (!entry.fellBack) return good()
    const { name } = service
    const fallen = new OnehopError('device-fell-silent', {
      ...{ name: deviceName(view.mesh, service), service: name, times: view.mesh.watch.failures },
      message: entry.fellBack.why,
    }).toJSON()
    return { failure: entry.failure?.code === 'device-fell-silent' ? entry.failure : fallen }
  },
} satisfies Record<string, ServiceJudge>

/** Whether a service is one of those that a check is about. */
export function isOne(of: Only, view: View, service: ClusterService): boolean {
  const { state } = entryOf(view, service) ?? { state: 'restored' }
  switch (of) {
    case 'moved':
      return state === 'moved' || state === 'retired'
    case 'unmoved':
      return state === 'restored' && hasOldPath(service)
    case 'routed':
      return Object.keys(service.routes).length > 0 && state !== 'retiring' && state !== 'retired'
    case 'https':
      return service.mode === 'https'
    default:
      return of satisfies never
  }
}

const entryOf = ({ facts }: View, { name }: ClusterService) => lookup(facts.snapshot).entry(name)

/** Judged by what `plan` and `migrate` say, in their words. */
function byPreflight(id: CheckId, found: (service: ClusterService) => string = () => ''): ServiceJudge {
  const codes = codesOf(id)
  return (view, service) =>
    unless(
      view.problems(service).find(({ code }) => codes.includes(code)),
      found(service),
    )
}
