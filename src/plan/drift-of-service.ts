import type { ExposeState } from '../steps/annotate-service.ts'
import type { IngressState } from '../steps/ingress-service.ts'
import type { ServiceFacts } from '../systems/kubernetes-facts.ts'
import type { DriftFacts, Finding, Standing } from './drift.ts'
import { lookup } from './lookup.ts'
import { deviceName, hasOldPath, ingressName, proxyKey } from './paths.ts'
import { operatorAbsence } from './preflight.ts'
import { standingChange } from './states.ts'

/** What is not as it was left of one service: its Service, its exposure, its proxy and device, and its device name. */
export function serviceDrift(facts: DriftFacts, standing: Standing): Finding[] {
  const { service, entry } = standing
  const subject = service.name
  const { cluster } = facts.snapshot
  const fellBack: Finding[] = entry.fellBack
    ? [
        {
          kind: 'fell-back',
          subject,
          what: `Caddy leads to the port map of ${subject} again since ${entry.fellBack.at}: ${entry.fellBack.why}`,
          cure: `mend the device, then onehop expose ${subject}; or give it up: onehop rollback ${subject}`,
        },
      ]
    : []
  if (!cluster) return [...fellBack]
  const found = lookup(facts.snapshot).service(service.service)
  const uid = standingChange(entry, 'expose')?.uid
  if (!found || (uid !== undefined && uid !== found.uid))
    return [
      ...fellBack,
      {
        kind: 'service-gone',
        subject,
        what: found
          ? `Service ${service.service} was deleted and made again`
          : `there is no Service ${service.service}`,
        cure: `onehop rollback ${subject}, then onehop expose ${subject}`,
      },
    ]
  return [
    ...fellBack,
    ...exposureDrift(facts, standing, found),
    ...shapeDrift(standing, found),
    ...endpointDrift(facts, standing, found),
    ...deviceDrift(facts, standing),
  ]
}

/** The annotations, or the Ingress, that were written. */
function exposureDrift(facts: DriftFacts, { service, entry }: Standing, found: ServiceFacts): Finding[] {
  const subject = service.name
  const target = standingChange(entry, 'expose')?.target as ExposeState | IngressState | undefined
  if (!target) return []
  if ('ingress' in target) return ingressDrift(facts, { service, entry }, target)
  return Object.entries(target.annotations).flatMap(([key, wanted]): Finding[] => {
    const now = found.annotations[key]
    if (!wanted || now?.value === wanted.value) return []
    const what = `Service ${service.service}: ${key} is ${now?.value ?? 'gone'}, it was ${wanted.value}`
    const cause = now && `field manager ${now.manager}`
    if (key === 'tailscale.com/expose') return [{ kind: 'annotation-gone', subject, what, cause }]
    if (key === 'tailscale.com/hostname') return [{ kind: 'hostname-changed', subject, what, cause }]
    return [{ kind: 'tag-edited', subject, what: `${what}; its device keeps the tag that it has`, cause }]
  })
}

function ingressDrift({ snapshot }: DriftFacts, { service }: Standing, { ingress }: IngressState): Finding[] {
  const subject = service.name
  const name = ingressName(service)
  const found = lookup(snapshot).ingress(`${service.namespace}/${name}`)
  const object = `Ingress ${service.namespace}/${name}`
  if (!found?.ours) return [{ kind: 'annotation-gone', subject, what: `${object} is gone` }]
  const now = found.wish
  if (ingress && now?.hostname !== ingress.wish.hostname)
    return [
      {
        kind: 'hostname-changed',
        subject,
        what: `${object} asks for ${now?.hostname ?? 'another spec'}, it was ${ingress.wish.hostname}`,
        mend: null,
        cure: `delete that Ingress, then onehop drift --repair annotation-gone`,
      },
    ]
  return []
}

/** Type and ports: as the retirement left them, else as they were when the service was moved. */
const shapeDrift = (standing: Standing, found: ServiceFacts): Finding[] => [
  ...portsDrift(standing, found),
  ...(standingChange(standing.entry, 'type') ? typeDrift(standing, found) : nodePortDrift(standing, found)),
]

/** Of what an Ingress exposes, no more is known than the port that it leads to. */
function portsDrift({ service, entry }: Standing, found: ServiceFacts): Finding[] {
  const subject = service.name
  const wanted = seenOf(entry)?.ports ?? service.ports
  const isWhole = seenOf(entry) !== undefined
  const numbers = (ports: Array<{ port: number }>) =>
    ports
      .map(({ port }) => port)
      .toSorted((a, b) => a - b)
      .join(', ')
  const isThere = wanted.every(({ port }) => found.ports.some((each) => each.port === port))
  if (isWhole ? numbers(wanted) === numbers(found.ports) : isThere) return []
  return [
    {
      kind: 'ports-changed',
      subject,
      what: `Service ${service.service} has the ports ${numbers(found.ports)}, it was moved with ${numbers(wanted)}`,
      cure: `correct services.${subject}.ports in mesh.yaml, then onehop rollback ${subject} and onehop expose ${subject}`,
    },
  ]
}

function typeDrift({ service }: Standing, found: ServiceFacts): Finding[] {
  const subject = service.name
  const object = `Service ${service.service}`
  const cause = found.typeManager && `field manager ${found.typeManager}`
  if (found.type === 'ClusterIP') return []
  if (found.type === 'NodePort')
    return [{ kind: 'type-back', subject, what: `${object} is a NodePort again`, cause }]
  return [
    {
      kind: 'type-back',
      subject,
      what: `${object} is a ${found.type}, it was a ClusterIP`,
      cause,
      mend: null,
      cure: `set its type where it is written, or name "type-back ${subject}" in drift.known if it is meant`,
    },
  ]
}

function nodePortDrift({ service, entry }: Standing, found: ServiceFacts): Finding[] {
  const subject = service.name
  const object = `Service ${service.service}`
  const cause = found.typeManager && `field manager ${found.typeManager}`
  const seen = seenOf(entry)
  if (!hasOldPath(service) || seen?.type !== 'NodePort') return []
  if (found.type !== 'NodePort')
    return [
      {
        kind: 'nodeport-gone',
        subject,
        what: `${object} is a ${found.type}, it was a NodePort: its port map leads nowhere`,
        cause,
        cure: 'make it a NodePort with its former node ports again where its type is written',
      },
    ]
  const moved = seen.ports.flatMap(({ port, nodePort }) => {
    const now = found.ports.find((each) => each.port === port)?.nodePort
    return nodePort === undefined || now === undefined || now === nodePort
      ? []
      : [`port ${port} has node port ${now}, it was ${nodePort}`]
  })
  if (moved.length === 0) return []
  return [
    {
      kind: 'nodeport-changed',
      subject,
      what: `${object}: ${moved.join('; ')}`,
      cure: 'give it its former node port again: its port map, and so its way back, leads there',
    },
  ]
}

const seenOf = (entry: Standing['entry']) =>
  (standingChange(entry, 'expose')?.before as ExposeState | undefined)?.seen

function endpointDrift({ snapshot }: DriftFacts, { service }: Standing, found: ServiceFacts): Finding[] {
  const ready = snapshot.cluster?.readyPorts[service.service] ?? []
  const bare = service.ports.flatMap(({ port }) => {
    const there = found.ports.find((each) => each.port === port)
    return there && !ready.includes(there.name) ? [port] : []
  })
  if (bare.length === 0) return []
  return [
    {
      kind: 'no-endpoints',
      subject: service.name,
      what: `Service ${service.service} has no ready endpoint for port ${bare.join(', ')}`,
      cure: `kubectl -n ${service.namespace} get endpointslices,pods`,
    },
  ]
}

/** The proxy that the operator made, its device, and what a client finds under its name. */
function deviceDrift({ mesh, snapshot, paths }: DriftFacts, { service, entry }: Standing): Finding[] {
  const subject = service.name
  const { namespace } = mesh.operator
  const proxy = snapshot.cluster?.proxies[proxyKey(service)]
  const { operator } = snapshot.cluster ?? {}
  // It takes the old device away and makes the new one: without it a rollback gets stuck half way.
  const isAtWork = snapshot.tailnet && operator?.running && operatorAbsence(mesh, snapshot) === undefined
  // Rolling a retired service back brings its old path back: that is more than a repair may decide.
  const anew = isAtWork && entry.state === 'moved' && hasOldPath(service) ? undefined : null
  const byHand = `onehop rollback ${subject}, then onehop expose ${subject}`
  const cure = !isAtWork
    ? 'first the operator must run and be on the tailnet; then onehop drift'
    : anew === null
      ? byHand
      : undefined
  const pods = `kubectl -n ${namespace} describe pod -l tailscale.com/parent-resource=${service.object}`
  if (!proxy)
    return [{ kind: 'proxy-missing', subject, what: `there is no proxy for ${service.service}`, cure: pods }]
  const name = deviceName(mesh, service)
  const findings: Finding[] = []
  if (proxy.keySpent)
    findings.push({
      kind: 'login-key-spent',
      subject,
      what: `the proxy of ${subject} asks for a new login key (reissue_authkey in its Secret)`,
      mend: anew,
      cure,
    })
  else if (proxy.trouble && !proxy.mayPass)
    findings.push({
      kind: 'proxy-stuck',
      subject,
      what: `the proxy pod of ${subject} does not start: ${proxy.trouble}`,
      mend: anew,
      cure: cure ?? pods,
    })
  const { tailnet } = snapshot
  const device = lookup(snapshot).device(proxy.deviceId ?? '')
  if (tailnet && proxy.deviceId !== undefined && !device)
    findings.push({
      kind: 'device-deleted',
      subject,
      what: `device ${proxy.deviceId} (${proxy.fqdn ?? name}) is not on the tailnet any more`,
      mend: anew,
      cure,
    })
  const named = [device?.name, proxy.fqdn].find((each) => each !== undefined && each !== name)
  if (named !== undefined) {
    const holder = lookup(snapshot)
      .devicesNamed(service.hostname)
      .find((each) => each.name === name && each.id !== proxy.deviceId)
    findings.push({
      kind: 'device-renamed',
      subject,
      what: `the device of ${subject} is called ${named}, asked was ${name}`,
      cause: holder && `${name} is held by ${holder.id} (${holder.addresses[0] ?? 'no address'})`,
      // As long as somebody holds the name, another try would end with another suffix.
      mend: holder ? null : anew,
      cure: holder ? `free the name ${name}, then onehop drift --repair device-renamed` : cure,
    })
  }
  if (device && !device.online)
    findings.push({
      kind: 'device-offline',
      subject,
      what: `device ${device.name} is not connected`,
      cause: `last seen ${device.lastSeen}`,
      cure: pods,
    })
  const path = paths[subject]
  const [silent] = path?.silent ?? []
  if (silent)
    findings.push({
      kind: 'device-silent',
      subject,
      what: `${silent.name}:${silent.port} does not answer: ${silent.message}`,
      cure: `onehop check ${subject}; to give it up: onehop rollback ${subject}`,
    })
  const [address] = proxy.addresses
  // An error's text is no answer.
  if (Array.isArray(path?.magicDns) && address !== undefined && !path.magicDns.includes(address))
    findings.push({
      kind: 'name-elsewhere',
      subject,
      what: `MagicDNS answers ${path.magicDns.join(' ') || 'nothing'} for ${name}, its device has ${address}`,
      cure: 'tailscale dns status; is another device of that name on the tailnet?',
    })
  return findings
}
