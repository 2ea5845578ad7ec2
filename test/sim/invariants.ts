import { isDeepStrictEqual } from 'node:util'
import { adaptCaddyfile } from '../../simulated/adapt-caddyfile.ts'
import { type Cluster, keyOf } from '../../simulated/cluster.ts'
import type { ServiceObject } from '../../simulated/cluster-state.ts'
import type { MachineDisk } from '../../simulated/disk.ts'
import { finalizer } from '../../simulated/operator.ts'
import { reach } from '../../simulated/probes.ts'
import { onBehalf } from '../../simulated/process.ts'
import type { Entry, RequestRecord } from '../../src/journal-records.ts'
import { adaptedDials, findUpstreams, replaceUpstreams } from '../../src/plan/caddyfile.ts'
import { type ClusterService, isClusterService, type Mesh } from '../../src/plan/mesh.ts'
import { advertised, deviceName, exposeAnnotations, routesOf } from '../../src/plan/paths.ts'
import { addAccess, missingPieces, removeAccess } from '../../src/plan/policy.ts'
import { wantedAccess } from '../../src/plan/policy-access.ts'
import type { Runtime } from './runtime.ts'

/** What must always hold (design.md), looked at after every effect, and what must hold in the end. */
export function createInvariants(options: Options) {
  const { runtime, mesh, cluster, disk, caddy, policy, first, state, caddyfile } = options
  const firstPolicy = policy.text
  /** The first policy with what other people have added since, and nothing of ours. */
  let theirs = firstPolicy
  const services = mesh.services.filter(isClusterService)
  const routes = services.flatMap((service) =>
    routesOf(mesh, service).map((route) => ({ service, ...route })),
  )
  const before = new Map([...cluster.objects].map(([key, object]) => [key, annotationsOf(object)]))
  const foreign = new Map([...cluster.objects].map(([key]) => [key, ['example.com/owner']]))
  const foreignDevices: string[] = []
  /** Services whose tokens of ours somebody else has changed: what becomes of these is theirs. */
  const tampered = new Set<string>()
  const taken = new Map<string, () => boolean>()
  const states = new Map<string, string>()
  const entries = new Map<string, Entry | undefined>()
  const blocks = new Map(routes.map(({ site }) => [site, blockOf(first, site)]))
  let expected = first
  const ended = { moves: 0, retirements: 0 }
  let [seenDisk, seenCluster, seenConfig, seenText] = [-1, '', caddy.config(), first]
  let dials = dialsOf()

  const objectOf = (service: ClusterService) => cluster.objects.get(service.service)
  const read = <T>(folder: string, file: string): T | undefined => {
    const text = disk.peek(`${state}/${folder}/${file}`)
    if (text === undefined) return undefined
    try {
      return JSON.parse(text) as T
    } catch {
      runtime.violate('I7', `the journal's ${folder}/${file} is torn: ${JSON.stringify(text.slice(0, 40))}`)
      return undefined
    }
  }
  const entryOf = (name: string) => read<Entry>('services', `${name}.json`)

  /** What the journal says of a service now; it is read after each of its changes. */
  const stands = (name: string, id: string) =>
    entries.get(name)?.changes.some((each) => each.id === id && !each.undone) ?? false

  /** The text with every route of ours that is out of it in its place again, as it was first. */
  function whole(text: string): string {
    return routes.reduce((now, { site }) => {
      const marker = markerOf(now, site)
      return marker === undefined ? now : now.replace(marker, () => blocks.get(site) ?? '')
    }, text)
  }

  function dialsOf() {
    return new Map(routes.map(({ site }) => [site, adaptedDials(caddy.config(), site)]))
  }

  /** I4: only the attempt that the journal calls the current one writes. */
  function judgeWriter(name: string, what: string, towards: Entry['state'][] = live) {
    if (runtime.isLanding()) return
    const run = onBehalf.getStore() ?? 'nobody'
    const entry = entryOf(name)
    const holds =
      entry && (entry.run === run || (/^(local|recover)/.test(run) && entry.run.startsWith('local-')))
    if (!holds || !towards.includes(entry.state))
      runtime.violate(
        'I4',
        `${what} of ${name} by ${run}, but the journal has ${entry ? `${entry.state} by ${entry.run}` : 'nothing'}`,
      )
  }

  function checkPaths() {
    for (const { service, site } of routes) {
      if (tampered.has(service.name)) continue
      const found = dials.get(site) ?? []
      if (found.length === 0 && !stands(service.name, 'route'))
        runtime.violate('I1', `Caddy has no route for ${site}`)
      for (const dial of found) {
        const ofDevice = dial.startsWith(deviceName(mesh, service))
        // A pod that a fault has killed answers to nobody.
        if (ofDevice && cluster.proxies.get(service.service)?.up === false) continue
        if (reach(cluster, dial) !== service.service)
          runtime.violate('I1', `Caddy leads ${site} to ${dial}, which does not answer`)
      }
    }
  }

  /** Of the paths that onehop advertises for a service, one answers at least. */
  function checkAdvertised() {
    for (const service of services) {
      const { name, ports } = service
      if (tampered.has(name)) continue
      const by = advertised(entries.get(name))
      const answers = (host: string) =>
        ports.every(({ port }) => reach(cluster, `${host}:${port}`) === service.service)
      const killed = by.device && cluster.proxies.get(service.service)?.up === false
      if (killed || (by.portMap && answers('localhost'))) continue
      if (by.device && answers(deviceName(mesh, service))) continue
      runtime.violate('I1', `no path that is advertised for ${name} answers: ${JSON.stringify(by)}`)
    }
  }

  function checkForeign() {
    for (const [key, names] of foreign) {
      const object = cluster.objects.get(key)
      for (const name of names)
        if (!isDeepStrictEqual(object?.annotations.get(name)?.owners, ['kubectl-client-side-apply']))
          runtime.violate('I3', `${key} has lost ${name}, which is not ours`)
    }
    for (const id of foreignDevices)
      if (!cluster.devices.has(id)) runtime.violate('I3', `device ${id}, which is not ours, is gone`)
  }

  function checkFile(found: string | undefined) {
    if (found === undefined) return runtime.violate('I3', 'the Caddyfile is gone')
    for (const { service, site } of routes)
      if (markerOf(found, site) !== undefined && !stands(service.name, 'route'))
        runtime.violate('I5', `${site} is out of the Caddyfile, and the journal has no record of it`)
    const text = whole(found)
    if (skeletonOf(text) !== skeletonOf(expected))
      runtime.violate('I2', `the Caddyfile differs in more than our tokens: ${JSON.stringify(text)}`)
    for (const { service, site, from, to } of routes) {
      if (tampered.has(service.name)) continue
      const [found] = findUpstreams(text, { site })
      const [was] = findUpstreams(expected, { site })
      if (found?.upstream !== was?.upstream && found?.upstream !== to)
        runtime.violate(
          'I2',
          `${site} in the Caddyfile goes to ${found?.upstream}, neither ${from} nor ${to}`,
        )
    }
  }

  function check() {
    const before = seenDisk
    if (seenDisk !== disk.version()) {
      seenDisk = disk.version()
      readEntries()
    }
    const clusterNow = `${cluster.version()}`
    if (seenConfig !== caddy.config()) {
      seenConfig = caddy.config()
      dials = dialsOf()
      checkPaths()
    }
    if (seenCluster !== clusterNow) {
      seenCluster = clusterNow
      checkPaths()
      checkAdvertised()
      checkForeign()
    }
    if (before !== seenDisk) {
      const text = disk.peek(caddyfile)
      if (text !== seenText) {
        seenText = text ?? ''
        checkFile(text)
      }
      checkEnds()
    }
  }

  function readEntries() {
    let changed = false
    for (const { name } of services) {
      const text = disk.peek(`${state}/services/${name}.json`) ?? ''
      if (states.get(name) === text) continue
      states.set(name, text)
      entries.set(name, entryOf(name))
      changed = true
    }
    if (changed) checkAdvertised()
  }

  /** A service that has just ended is so already, not only when the operator has had its time. */
  function checkEnds() {
    for (const service of services) {
      const end = entries.get(service.name)?.state
      if (endsSeen.get(service.name) === end) continue
      endsSeen.set(service.name, end)
      if (tampered.has(service.name)) continue
      if (end === 'restored') checkRestored(service)
      if (end === 'moved' || end === 'retired') {
        ended[end === 'moved' ? 'moves' : 'retirements']++
        checkMoved(service)
      }
    }
  }
  const endsSeen = new Map<string, Entry['state'] | undefined>()

  return {
    counts: () => ended,
    ends: () => ({
      services: Object.fromEntries(
        [...entries].flatMap(([name, entry]) =>
          entry ? [[name, { state: entry.state, code: entry.failure?.code }]] : [],
        ),
      ),
      requests: requests().map(({ state, failure }) => ({ state, code: failure?.code })),
    }),
    check,
    entryOf,

    serviceWritten(object: ServiceObject, what: string) {
      const service = services.find((each) => each.service === keyOf(object))
      const towards = { annotate: 'exposing', 'take type': 'retiring' } as const
      judgeWriter(service?.name ?? '?', what, [towards[what as 'annotate'] ?? 'rolling-back'])
    },

    /** Nobody is let in that the journal does not say, and what is not ours is as its people left it. */
    policyWritten(text: string) {
      let rest = policy.text
      for (const service of services) {
        const { name } = service
        const access = wantedAccess(mesh, service, pandaAlone)
        if (!access) continue
        const { added } = addAccess(firstPolicy, access)
        const [was, is] = [text, policy.text].map((each) => missingPieces(each, access).length === 0)
        if (was !== is)
          judgeWriter(name, `${is ? 'letting' : 'no longer letting'} in`, [is ? 'exposing' : 'rolling-back'])
        if (is && !stands(name, 'allow'))
          runtime.violate('I6', `the policy lets ${name} in, and the journal says nothing of it`)
        rest = removeAccess(rest, added).text
      }
      if (rest !== theirs) runtime.violate('I6', `without ours, the policy is ${rest}`)
    },

    loaded(ran: unknown, runs: unknown) {
      for (const { service, site, to } of routes) {
        const [was, is] = [adaptedDials(ran, site).join(), adaptedDials(runs, site).join()]
        if (was !== is) judgeWriter(service.name, `${site} -> ${is} in Caddy`, whoMay(was, is, to))
      }
    },

    fileWritten(text: string) {
      const now = disk.peek(caddyfile) ?? ''
      for (const { service, site, to } of routes) {
        const was = findUpstreams(text, { site })[0]?.upstream ?? ''
        const is = findUpstreams(now, { site })[0]?.upstream ?? ''
        if (was !== is) judgeWriter(service.name, `${site} -> ${is} in the Caddyfile`, whoMay(was, is, to))
      }
    },

    /** Caddy has started anew, with its file. */
    restarted: () => check(),

    /** What other people do meanwhile. */
    edits: {
      annotate(object: ServiceObject, name: string) {
        cluster.merge(object, 'kubectl-client-side-apply', { [`example.com/${name}`]: 'by hand' })
        foreign.get(keyOf(object))?.push(`example.com/${name}`)
      },
      appendToCaddyfile(line: string) {
        expected += line
        disk.put(caddyfile, (disk.peek(caddyfile) ?? '') + line)
        seenText = disk.peek(caddyfile) ?? ''
      },
      /** Before the last grant that was there first, or as the very last one, behind ours. */
      editPolicy(word: string) {
        const entry = `{"src": ["${word}@"], "dst": ["joel@"], "ip": ["22"]}, // by hand\n`
        const anchor = runtime.random() < 0.5 ? '    {"src": ["joel@"], "dst": ["joel@"]' : '  ],\n}\n'
        const edit = (text: string) => {
          const at = text.lastIndexOf(anchor)
          return `${text.slice(0, at)}    ${entry}${text.slice(at)}`
        }
        theirs = edit(theirs)
        policy.text = edit(policy.text)
      },
      takeOver(object: ServiceObject) {
        const service = services.find((each) => each.service === keyOf(object))
        if (!service) return
        tampered.add(service.name)
        const [route] = routesOf(mesh, service)
        const text = disk.peek(caddyfile) ?? ''
        const other = { to: '10.0.0.9:99' }
        if (route && markerOf(text, route.site) === undefined && runtime.random() < 0.5) {
          const edit = (each: string) =>
            replaceUpstreams(
              each,
              findUpstreams(each, { site: route.site }).map((token) => ({ ...token, ...other })),
            )
          expected = edit(expected)
          disk.put(caddyfile, edit(text))
          seenText = disk.peek(caddyfile) ?? ''
          const { site } = route
          taken.set(
            service.name,
            () => findUpstreams(disk.peek(caddyfile) ?? '', { site })[0]?.upstream === other.to,
          )
        } else {
          const value = `byhand-${object.name}`
          cluster.merge(object, 'kubectl-edit', { 'tailscale.com/hostname': value })
          taken.set(service.name, () => object.annotations.get('tailscale.com/hostname')?.value === value)
        }
      },
      addDevice(hostname: string) {
        foreignDevices.push(cluster.addDevice(hostname).id)
      },
    },

    /** Whether nobody is at work on anything, as far as the journal says. */
    isSettled(): boolean {
      const busy = services.some(({ name }) => live.includes(entryOf(name)?.state ?? 'restored'))
      return !busy && requests().every((each) => each.state !== 'running')
    },

    /** What does not hold in the end, when nothing moves any more. */
    final() {
      check()
      for (const service of services) {
        const { name } = service
        const entry = entryOf(name)
        const end = entry?.state ?? 'restored'
        // A route that was taken out comes back by a reload, which would load what its owner has not loaded yet.
        const waits =
          end === 'rollback-incomplete' &&
          entry?.failure?.code === 'caddy-file-not-running' &&
          (expected.includes('"hi"') || tampered.size > 0) &&
          routes.some((each) => each.service === service && dials.get(each.site)?.length === 0)
        if (waits) tampered.add(name)
        if (end === 'rollback-incomplete' && !tampered.has(name))
          runtime.violate('I7', `${name} ends rollback-incomplete: ${entry?.failure?.message}`)
        else if (!['moved', 'retired', 'restored', 'rollback-incomplete'].includes(end))
          runtime.violate('I8', `${name} ends ${end}`)
        if (end !== 'moved' && end !== 'retired' && taken.get(name)?.() === false)
          runtime.violate('I2', `${name} ends ${end}, and what somebody else had made of it is lost`)
        if (tampered.has(name)) continue
        if (end === 'moved' || end === 'retired') checkMoved(service)
        if (end === 'restored') checkRestored(service)
      }
      for (const each of requests())
        if (each.state === 'running') runtime.violate('I8', `request ${each.id} is still running`)
      const left = disk.peek(caddyfile) ?? ''
      const text = whole(left)
      const wanted = replaceUpstreams(
        expected,
        routes.flatMap(({ service, site, to }) =>
          !tampered.has(service.name) && entryOf(service.name)?.state === 'moved'
            ? findUpstreams(expected, { site }).map((token) => ({ ...token, to }))
            : [],
        ),
      )
      // Who is let in: of a moved service all of it, of a restored one nothing, and what was there by hand to the byte.
      const standing = services.filter((each) => /^(moved|retired)$/.test(entryOf(each.name)?.state ?? ''))
      for (const service of standing) {
        const access = wantedAccess(mesh, service, pandaAlone)
        if (access && missingPieces(policy.text, access).length > 0)
          runtime.violate('I6', `${service.name} is moved, and not let in by ${policy.text}`)
      }
      const without = services.reduce((now, service) => {
        const access = wantedAccess(mesh, service, pandaAlone)
        return access && standing.includes(service)
          ? removeAccess(now, addAccess(firstPolicy, access).added).text
          : now
      }, policy.text)
      if (tampered.size === 0 && without !== theirs)
        runtime.violate('I2', `the policy ends as ${policy.text}`)
      if (tampered.size > 0) return
      if (text !== wanted)
        runtime.violate('I2', `the Caddyfile ends as ${JSON.stringify(text)}, not ${JSON.stringify(wanted)}`)
      const meant = adaptCaddyfile(left)
      // A site that somebody has written and not loaded yet is not ours to load.
      const alike = expected.includes('"hi"')
        ? routes.every(({ site }) => isDeepStrictEqual(dials.get(site), adaptedDials(meant, site)))
        : isDeepStrictEqual(caddy.config(), meant)
      if (!alike) runtime.violate('I2', 'Caddy runs something else than its file')
    },
  }

  function requests() {
    return disk
      .list(`${state}/requests`)
      .filter((path) => /\/[^./][^/]*\.json$/.test(path))
      .flatMap((path) => read<RequestRecord>('requests', path.split('/').at(-1) ?? '') ?? [])
  }

  /** Moved, or retired as well: then no old path is left. */
  function checkMoved(service: ClusterService) {
    const object = objectOf(service)
    const isRetired = entries.get(service.name)?.state === 'retired'
    const type = isRetired ? 'ClusterIP' : 'NodePort'
    if (object?.type !== type)
      runtime.violate('I8', `${service.name} is not of type ${type}, but ${object?.type}`)
    for (const { site, service: its } of routes)
      if (its === service && isRetired !== (markerOf(disk.peek(caddyfile) ?? '', site) !== undefined))
        runtime.violate('I8', `the route of ${site} ${isRetired ? 'still stands' : 'is out'}`)
    for (const [key, value] of Object.entries(exposeAnnotations(service)))
      if (object?.annotations.get(key)?.value !== value)
        runtime.violate(
          'I8',
          `${service.name} is moved, but ${key} is ${object?.annotations.get(key)?.value}`,
        )
    if (cluster.proxies.get(service.service)?.up === false) return
    for (const { port } of service.ports)
      if (reach(cluster, `${deviceName(mesh, service)}:${port}`) !== service.service)
        runtime.violate('I8', `${service.name} is moved, but its device name does not answer`)
  }

  function checkRestored(service: ClusterService) {
    const object = objectOf(service)
    if (!object) return
    const { type, typeOwners } = object
    if (type !== 'NodePort' || typeOwners.join() !== 'kubectl-client-side-apply')
      runtime.violate('I2', `${service.name} is restored, but a ${type} of ${typeOwners}`)
    const earlier = before.get(service.service) ?? ''
    const now = annotationsOf(object, (key) => !/^example\.com\/note/.test(key))
    if (now !== earlier) runtime.violate('I2', `${service.name} is restored, but has ${now}, not ${earlier}`)
    for (const route of routes) {
      const [found] = findUpstreams(disk.peek(caddyfile) ?? '', { site: route.site })
      const led = adaptedDials(caddy.config(), route.site).includes(route.to)
      if (route.service === service && (found?.upstream === route.to || led))
        runtime.violate(
          'I2',
          `${service.name} is restored, but Caddy's ${route.site} still leads to its device`,
        )
    }
    const wasExposed = earlier.includes('"tailscale.com/expose"')
    const proxy = cluster.proxies.get(service.service)
    if (!wasExposed && (object.finalizers.includes(finalizer) || proxy))
      runtime.violate('I7', `${service.name} is restored, but the operator still has its proxy`)
  }
}

type Options = {
  runtime: Runtime
  mesh: Mesh
  cluster: Cluster
  disk: MachineDisk
  caddy: { config: () => unknown }
  policy: { text: string }
  first: string
  state: string
  caddyfile: string
}

const live: Entry['state'][] = ['exposing', 'retiring', 'rolling-back']

/** In which states a route may go from one upstream to another; '' is none. What Caddy does not take is put back. */
function whoMay(was: string, is: string, device: string): Entry['state'][] | undefined {
  if (was === '' || is === '') return ['retiring', 'rolling-back']
  return is === device ? ['exposing'] : undefined
}

/** The line that stands where the route of a site was taken out, if it was. */
const markerOf = (text: string, site: string) =>
  new RegExp(`^# onehop: the route of ${site} was here .*$`, 'm').exec(text)?.[0]

/** The block of a site, as the first Caddyfile has it. */
const blockOf = (text: string, site: string) => new RegExp(`^${site} \\{[^}]*\\}$`, 'm').exec(text)?.[0] ?? ''

const pandaAlone = [{ name: 'panda.sim.ts.net', addresses: ['100.64.0.1'], tags: [] }]

const annotationsOf = ({ annotations }: ServiceObject, wanted: (key: string) => boolean = () => true) =>
  JSON.stringify([...annotations].filter(([key]) => wanted(key)).sort(([a], [b]) => (a < b ? -1 : 1)))

/** The text with every upstream taken out: what no edit of ours may touch. */
const skeletonOf = (text: string) =>
  replaceUpstreams(
    text,
    findUpstreams(text).map((each) => ({ ...each, to: '' })),
  )
