import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isClusterService, type Mesh, parseMesh } from '../../../src/plan/mesh.ts'
import { scanMesh } from '../../../src/plan/scan.ts'
import type { Answers, Spoken } from '../../../src/plan/scan-inventory.ts'
import { cluster, container, heard, panda, scanned, service, talos } from './panda-inventory.ts'

/** What a move depends on, of each service by its name. */
const inventoryOf = (mesh: Mesh) =>
  Object.fromEntries(
    mesh.services.map((each) => [
      each.name,
      isClusterService(each)
        ? {
            service: each.service,
            ports: each.ports.map(({ port, portMap }) => ({ port, portMap })),
            routes: each.routes,
            engine: each.engine,
          }
        : { host: each.host },
    ]),
  )
const clusterServices = (mesh: Mesh) => mesh.services.filter(isClusterService)
const site = (number: number) => `https://panda.tail7af24.ts.net:${number}`
const http: Spoken = { kind: 'http', path: '/', inngest: false }
const inngest: Spoken = { kind: 'http', path: '/health', inngest: true }
const tcp: Spoken = { kind: 'tcp', inngest: false }
const answers = (spoken: Record<number, Spoken>): Answers =>
  new Map(Object.entries(spoken).map(([port, each]) => [Number(port), each]))
/** A Caddyfile, and Caddy's JSON for what does not stand in it. */
const caddy = (text: string, adapted: unknown = null) => ({
  ...panda().caddy,
  text,
  adapted,
  running: adapted,
})
const route = (host: string, port: number, dial: string) => ({
  apps: {
    http: {
      servers: {
        srv0: {
          listen: [`:${port}`],
          routes: [
            { match: [{ host: [host] }], handle: [{ handler: 'reverse_proxy', upstreams: [{ dial }] }] },
          ],
        },
      },
    },
  },
})

describe("the user's system", () => {
  test('is six Services and one process, ten client ports, and the routes that move, as a person wrote them down', () => {
    const { mesh } = scanned(panda())
    const file = join(import.meta.dirname, '../../../examples/panda/mesh.yaml')
    const wanted = parseMesh(readFileSync(file, 'utf8'), file)
    expect(inventoryOf(mesh())).toEqual(inventoryOf(wanted))
    const { tailscale, operator, caddy, engine } = wanted
    expect(mesh()).toMatchObject({ tailscale, operator, caddy, engine })
    const ports = clusterServices(mesh()).flatMap((each) => each.ports)
    expect(ports.length + mesh().services.filter((each) => !isClusterService(each)).length).toBe(10)
  })

  test('is asked by the kind of probe that answered', () => {
    const kinds = clusterServices(scanned(panda()).mesh()).map(({ name, probe, ports }) => [
      name,
      probe,
      ...ports.flatMap((each) => each.probe ?? []),
    ])
    expect(Object.fromEntries(kinds.map(([name, ...probes]) => [name, probes]))).toEqual({
      redis: ['redis'],
      qdrant: [{ http: '/' }, 'tcp'],
      inngest: [{ http: '/health' }, 'tcp'],
      livekit: [{ http: '/' }, 'tcp'],
      pds: [{ http: '/' }],
      typesense: [{ http: '/health' }],
    })
  })

  test('lets nobody reach more than this machine does, and asks who else shall', () => {
    const { mesh, questions } = scanned(panda())
    expect(clusterServices(mesh()).map(({ allow }) => allow)).toEqual(Array(6).fill(['panda']))
    expect(mesh().machine).toBe('panda')
    expect(questions[0]).toMatch(/^Who shall reach the services/)
    expect(scanned(panda()).text).toContain('more machines in allow: clanker-001')
  })

  test('names who owns a Service: a helm upgrade would take a hand-made edit back', () => {
    const { text } = scanned(panda())
    expect(text.match(/owned by Helm release (\w+)/g)).toEqual([
      'owned by Helm release livekit',
      'owned by Helm release pds',
    ])
  })

  test('holds paths of credentials, with what belongs there, and nothing else of them', () => {
    const { text, mesh } = scanned(panda())
    expect(text).toContain('clientSecretFile: ~/.config/onehop/operator-client-secret')
    expect(mesh().tailscale.credentials.clientSecretFile).toMatch(/\/\.config\/onehop\/onehop-client-secret$/)
  })
})

describe('port maps', () => {
  const only = (name: string, inventory = panda(), spoken = heard) => {
    const { mesh, ...rest } = scanned(inventory, spoken)
    const found = clusterServices(mesh()).find((each) => each.name === name)
    return {
      ...rest,
      ports: found?.ports.map(({ port, portMap, nodePort }) => ({ port, portMap, nodePort })),
    }
  }

  test('the PDS: port 9627 of this machine leads to node port 3000, and another container on 3000 does not count', () => {
    const grafana = container('grafana', { 3000: 3000, 3001: 3000 })
    expect(only('pds', panda({ docker: [grafana, talos] })).ports).toEqual([{ port: 3000, portMap: 9627 }])
    expect(only('pds').text).toContain('# container talos maps 9627 to 3000')
  })

  test('a node is known by its name or its labels; where none is, any container counts and is asked about', () => {
    const inventory = (nodes: string[], isNode: boolean) =>
      panda({
        cluster: cluster([service('web', { 80: 30080 })], { nodes }),
        docker: [container('other', { 9000: 30080 }), container('kind', { 8080: 30080 }, isNode)],
      })
    const spoken = answers({ 8080: http, 9000: http })
    const known = [{ port: 80, portMap: 8080, nodePort: 30080 }]
    for (const each of [inventory(['kind'], false), inventory([], true)]) {
      const { ports, questions } = only('web', each, spoken)
      expect(ports).toEqual(known)
      expect(questions.join()).not.toContain('no running container')
    }
    const unknown = only('web', inventory(['elsewhere'], false), spoken)
    expect(unknown.questions.join()).toContain('no running container has the name of a node (elsewhere)')
  })

  test('of two that lead to one port, the one that Caddy dials is taken, and the choice is shown', () => {
    const inventory = panda({
      cluster: cluster([service('web', { 8080: 30080 })]),
      docker: [container('talos', { 8080: 30080, 18080: 30080 })],
      caddy: caddy(`${site(443)} {\n\treverse_proxy localhost:18080\n}\n`),
    })
    const { ports, questions } = only('web', inventory, answers({ 8080: http, 18080: http }))
    expect(ports).toEqual([{ port: 8080, portMap: 18080, nodePort: 30080 }])
    expect(questions).toContain(
      'ports 18080 and 8080 of this machine all lead to port 8080. By which one is the old path proven?',
    )
  })

  test('one that is published on another address than localhost is none', () => {
    const [map] = container('talos', { 8080: 30080 }).maps
    const docker = [
      { name: 'talos', isNode: true, maps: map ? [{ ...map, hostAddress: '192.168.1.20' }] : [] },
    ]
    const inventory = panda({ cluster: cluster([service('web', { 80: 30080 })]), docker })
    const { found } = { found: scanMesh(inventory, answers({ 30080: { kind: 'silent' } })) }
    expect(found.services).toEqual([])
  })

  test('a node port without one, where localhost is silent, is left out with the lines to uncomment', () => {
    const lonely = service('minio', { 9000: 30900, 9001: 30901 })
    const inventory = panda({ cluster: cluster([...panda().cluster.services, lonely]) })
    const { text, mesh, questions } = scanned(inventory)
    expect(mesh().services.map(({ name }) => name)).not.toContain('minio')
    expect(questions).toContain(
      'apps/minio has node ports 30900, 30901, and nothing on this machine is known to lead there. Is it a service of this mesh?',
    )
    const uncommented = text.replace(
      /^ {2}# (minio:|(?: {2})(?:service: apps\/minio|ports: \[9000, 9001\]|oldPath: none))$/gm,
      '  $1',
    )
    const added = clusterServices(parseMesh(uncommented, 'mesh.yaml')).find(({ name }) => name === 'minio')
    expect(added).toMatchObject({ service: 'apps/minio', oldPath: 'none' })
  })

  test('a node port without one, where localhost answers, is taken for reached and asked about', () => {
    const inventory = panda({
      cluster: cluster([service('minio', { 9000: 30900 })]),
      listeners: [{ port: 30900, process: 'ssh' }],
    })
    const { ports, questions } = only('minio', inventory, answers({ 30900: http }))
    expect(ports).toEqual([{ port: 9000, portMap: 30900, nodePort: 30900 }])
    expect(questions).toContain(
      'Docker maps nothing to it; something answers at localhost:30900 (ssh), and was taken for the way to port 9000. Is it?',
    )
  })

  test('a node port whose number another container has published is not reached by it', () => {
    const inventory = panda({
      cluster: cluster([service('web', { 80: 3000, 81: 3001 })]),
      docker: [container('grafana', { 3000: 3000 }), container('talos', { 3001: 3001 })],
    })
    const { ports, questions } = only('web', inventory, answers({ 3000: http, 3001: http }))
    expect(ports).toEqual([{ port: 81, portMap: 3001, nodePort: 3001 }])
    expect(questions.join()).toContain('port 3000 of this machine is that of container grafana')
  })

  test('a UDP port is not one of those that onehop proves', () => {
    const dns = service(
      'dns',
      {},
      {
        ports: [
          { name: 'udp', port: 53, nodePort: 53, protocol: 'UDP' },
          { name: 'tcp', port: 53, nodePort: 53 },
        ],
      },
    )
    const inventory = panda({ cluster: cluster([dns]), docker: [container('talos', { 53: 53 })] })
    const { ports, questions } = only('dns', inventory, answers({ 53: tcp }))
    expect(ports).toEqual([{ port: 53, portMap: 53 }])
    expect(questions.join()).toContain('port 53/UDP is left out')
  })

  test('one that is silent now is written all the same, and asked about', () => {
    const { ports, questions } = only('redis', panda(), new Map([...heard, [6379, { kind: 'silent' }]]))
    expect(ports).toEqual([{ port: 6379, portMap: 6379 }])
    expect(questions.join()).toContain('port 6379 did not answer at all now (localhost:6379)')
  })
})

describe('routes', () => {
  test('the fallback of the Funnel server leads to Inngest too: a note, and no route', () => {
    const { mesh, text, questions } = scanned(panda())
    const engine = clusterServices(mesh()).find((each) => each.engine)
    expect(engine?.routes).toEqual({ [site(9443)]: 8288, [site(8290)]: 8289 })
    expect(questions).toContain(
      'http://localhost:8443 (line 62) also leads to localhost:8288, and is not in routes: the same site also leads to localhost:3111; only programs of this machine come in here, such as Tailscale Funnel. Shall it move?',
    )
    expect(text).toContain('    # routes: { "http://localhost:8443": 8288 }\n')
  })

  test('of two sites that lead to one port both move, and it is asked whether they shall', () => {
    const text = `${panda().caddy.text}\n${site(9444)} {\n\treverse_proxy 127.0.0.1:8288\n}\n`
    const { mesh, questions } = scanned(panda({ caddy: caddy(text) }))
    const engine = clusterServices(mesh()).find((each) => each.engine)
    expect(Object.keys(engine?.routes ?? {})).toEqual([site(9443), site(9444), site(8290)])
    expect(questions).toContain('2 sites lead to port 8288. Which of them move?')
  })

  test('one block with two addresses is one route: its token is edited once', () => {
    const text = `${site(9443)}, ${site(9444)} {\n\treverse_proxy localhost:8288\n}\n`
    const { mesh } = scanned(panda({ caddy: caddy(text) }))
    expect(clusterServices(mesh()).find((each) => each.engine)?.routes).toEqual({ [site(9443)]: 8288 })
  })

  test('what an import brings is seen, and not written as a route: onehop does not edit it', () => {
    const text = 'import sites/*.caddy\n'
    const adapted = route('panda.tail7af24.ts.net', 9443, 'localhost:8288')
    const { mesh, questions } = scanned(panda({ caddy: caddy(text, adapted) }))
    expect(clusterServices(mesh()).find((each) => each.engine)?.routes).toEqual({})
    expect(questions.join()).toContain(
      'panda.tail7af24.ts.net:9443 also leads to localhost:8288, and is not in routes: it comes by an import',
    )
  })

  test('an upstream under another name of this machine is seen, and not written as a route', () => {
    const text = `${site(9443)} {\n\treverse_proxy panda.tail7af24.ts.net:8288\n}\n`
    const { mesh, questions } = scanned(panda({ caddy: caddy(text) }))
    expect(clusterServices(mesh()).find((each) => each.engine)?.routes).toEqual({})
    expect(questions.join()).toContain('it is written as panda.tail7af24.ts.net:8288')
  })

  test('a site whose address is a placeholder cannot be asked, so it is no route', () => {
    const { questions } = scanned(panda({ caddy: caddy('{$SITE} {\n\treverse_proxy localhost:8288\n}\n') }))
    expect(questions.join()).toContain('its address holds a placeholder')
  })

  test('a site whose address holds a variable is not offered as a route, since no move would find it', () => {
    const text = '{$SITE}:9443 {\n\treverse_proxy localhost:8288\n}\n'
    const { text: draft } = scanned(panda({ caddy: caddy(text, route('a.net', 9443, 'localhost:8288')) }))
    expect(draft).toContain('write the value that Caddy')
    expect(draft).not.toContain('routes: { "{$SITE}')
    const beside = `https://a.net:9443, {$SITE}:9444 {\n\treverse_proxy localhost:8288\n}\n`
    expect(scanned(panda({ caddy: caddy(beside) })).questions.join()).toContain('variable of the environment')
  })

  test('a Caddyfile that Caddy does not run: no choice makes Caddy load it', () => {
    const different = { ...caddy('a.net {\n}\n', { a: 1 }), running: { a: 2 } }
    const variables = [{ name: 'SITE', file: different.file, line: 1, isSet: false, hasDefault: false }]
    const asked = scanned(panda({ caddy: { ...different, variables } })).text
    expect(asked).toContain('{$SITE} (line 1, not set here)')
    for (const each of [asked, scanned(panda({ caddy: different })).text]) expect(each).not.toMatch(/reload/)
  })

  test('Caddy also leads elsewhere: said, and left alone', () => {
    const text = `${site(443)} {\n\treverse_proxy 192.0.2.7:80\n}\n`
    expect(scanned(panda({ caddy: caddy(text) })).text).toContain('stays as it is: 192.0.2.7:80')
  })
})

describe('processes behind Caddy', () => {
  const behind = (port: number, parts: Parameters<typeof panda>[0] = {}) => {
    const text = `${site(443)} {\n\treverse_proxy localhost:${port}\n}\n`
    return scanned(panda({ caddy: caddy(text), ...parts }))
  }

  test('what listens stays as it is; what does not is asked about', () => {
    const { found } = behind(3838, { listeners: [{ port: 3838, process: 'node' }] })
    expect(found.hosts).toEqual([
      { name: 'port-3838', host: '127.0.0.1:3838', note: `node, behind ${site(443)}` },
    ])
    const silent = behind(3838)
    expect(silent.found.hosts).toEqual([])
    expect(silent.questions.join()).toContain('localhost:3838, where nothing listens now')
  })

  test('a container that is no node of the cluster is such a process, under its own name', () => {
    const docker = [talos, container('docs_api', { 3838: 80 })]
    expect(behind(3838, { docker }).found.hosts).toMatchObject([{ name: 'docs-api', host: '127.0.0.1:3838' }])
  })

  test('a port map to a node port that no Service has is no such process', () => {
    const docker = [container('talos', { 8080: 31111 })]
    const { found, questions } = behind(8080, { docker, cluster: cluster([]) })
    expect(found.hosts).toEqual([])
    expect(questions.join()).toContain('maps to node port 31111, and no Service that was read has that')
  })
})

describe('names', () => {
  const web = (namespace: string, nodePort: number) => service('web', { 80: nodePort }, { namespace })
  const names = (...services: ReturnType<typeof service>[]) => {
    const ports = services.flatMap((each) => each.ports.map(({ nodePort = 0 }) => nodePort))
    const maps = container('talos', Object.fromEntries(ports.map((port) => [port, port])))
    return scanned(panda({ cluster: cluster(services), docker: [maps] })).mesh().services
  }

  test('a Service of the same name in two namespaces has its namespace behind it in both', () => {
    expect(names(web('blue', 30001), web('green', 30002)).map(({ name }) => name)).toEqual([
      'web-blue',
      'web-green',
      'worker',
    ])
  })

  test('that of a third Service is not given twice', () => {
    const third = service('web-blue', { 80: 30003 })
    expect(names(third, web('blue', 30001), web('green', 30002)).map(({ name }) => name)).toEqual([
      'web-blue',
      'web-blue-2',
      'web-green',
      'worker',
    ])
  })

  test('a Service that asks for a hostname and a tag already keeps them, unless another has them', () => {
    const asks = (hostname: string, tag: string) => ({
      annotations: {
        'tailscale.com/expose': { value: 'true', manager: 'kubectl-annotate' },
        'tailscale.com/hostname': { value: hostname, manager: 'kubectl-annotate' },
        'tailscale.com/tags': { value: tag, manager: 'kubectl-annotate' },
      },
    })
    const found = names(
      service('web', { 80: 30001 }, asks('shop', 'tag:web')),
      service('api', { 80: 30002 }, asks('web', 'tag:web')),
    )
    expect(found.filter(isClusterService).map(({ hostname, tag }) => [hostname, tag])).toEqual([
      ['shop', 'tag:web'],
      ['api', 'tag:svc-api'],
    ])
  })

  test('one that a device of the tailnet has already is asked about', () => {
    const tailnet = {
      ...panda().tailnet,
      name: 't.ts.net',
      from: '',
      members: [{ name: 'redis', addresses: [], tags: [] }],
    }
    expect(scanned(panda({ tailnet })).questions.join()).toContain('has a device named redis already')
  })

  test('that of something malicious stays within its comment', () => {
    const evil = 'x\n  evil: { host: "127.0.0.1:1", keep: caddy }\u2028y\r#'
    const { mesh } = scanned(
      panda({
        listeners: [{ port: 3111, process: evil }],
        unread: [{ what: evil, why: evil }],
        cluster: cluster(panda().cluster.services, { context: evil, from: evil }),
      }),
    )
    expect(mesh().services.map(({ name }) => name)).not.toContain('evil')
    expect(mesh().kubernetes.context).toBe(evil)
  })
})

describe('the engine', () => {
  const engineOf = (services: ReturnType<typeof service>[], spoken: Record<number, Spoken>) => {
    const ports = services.flatMap((each) => each.ports.map(({ nodePort = 0 }) => nodePort))
    const docker = [container('talos', Object.fromEntries(ports.map((port) => [port, port])))]
    const { mesh, questions, text } = scanned(panda({ cluster: cluster(services), docker }), answers(spoken))
    const marked = clusterServices(mesh()).flatMap((each) => (each.engine ? [each.name] : []))
    return { marked, url: mesh().engine.url, questions: questions.join('\n'), text }
  }

  test('is the service on whose port an Inngest server answers, whatever its name and ports', () => {
    const found = engineOf([service('jobs', { 80: 30080 }), service('inngest', { 8288: 8288, 8289: 8289 })], {
      30080: inngest,
      8288: http,
      8289: tcp,
    })
    expect(found).toMatchObject({ marked: ['jobs'], url: 'http://localhost:30080' })
    expect(found.text).toContain('localhost:30080 answers as an Inngest server')
  })

  test('is guessed by its ports or its name where none answers, and asked about', () => {
    const byPorts = engineOf([service('jobs', { 8288: 8288, 8289: 8289 })], { 8288: tcp, 8289: tcp })
    expect(byPorts.marked).toEqual(['jobs'])
    expect(byPorts.questions).toContain(
      'jobs was taken for the Inngest server as it has the ports 8288 and 8289',
    )
    const byName = engineOf([service('inngest-svc', { 80: 30080 })], { 30080: tcp })
    expect(byName).toMatchObject({ marked: ['inngest'], url: 'http://localhost:30080' })
  })

  test('is nobody where several are as likely, or none is', () => {
    const two = [service('a', { 80: 30001 }), service('b', { 80: 30002 })]
    expect(engineOf(two, { 30001: inngest, 30002: inngest })).toMatchObject({
      marked: [],
      questions: expect.stringContaining('a and b all look like Inngest servers'),
    })
    expect(engineOf(two, { 30001: http, 30002: http })).toMatchObject({
      marked: [],
      url: 'http://localhost:8288',
      questions: expect.stringContaining('no Service here looks like an Inngest server'),
    })
  })
})

describe('half of it', () => {
  test('without Docker: what answers on localhost is taken for mapped and asked about, and what is not read is said', () => {
    const { docker: _, ...rest } = panda({ unread: [{ what: 'Docker', why: 'no such program' }] })
    const { mesh, text, questions } = scanned(rest)
    expect(mesh().services.map(({ name }) => name)).toEqual([
      'inngest',
      'livekit',
      'qdrant',
      'redis',
      'typesense',
      'worker',
    ])
    expect(text).toContain('# - Docker: no such program')
    const asked = questions.join('\n')
    expect(asked).toContain(
      'Docker could not be asked; something answers at localhost:6379, and was taken for the way to port 6379.',
    )
    expect(asked).toContain('joelclaw/pds has node port 3000, and nothing on this machine')
  })

  test('without Caddy, or without its binary: no route, or those that stand in the file', () => {
    const { caddy: whole } = panda()
    const none = scanned(panda({ caddy: { file: whole.file, admin: whole.admin } }))
    expect(clusterServices(none.mesh()).flatMap(({ routes }) => Object.keys(routes))).toEqual([])
    expect(none.questions).toContain('No Caddyfile was read. Where is it?')
    const { text, file, admin } = whole
    const plain = scanned(panda({ caddy: { text: text ?? '', file, admin } }))
    expect(clusterServices(plain.mesh()).flatMap(({ routes }) => Object.keys(routes))).toHaveLength(4)
  })

  test('with a Caddy that runs something else than the file says so', () => {
    const { questions } = scanned(panda({ caddy: { ...panda().caddy, running: { apps: {} } } }))
    expect(questions.join()).toContain('Caddy runs another config than this file')
  })

  test('without the tailnet: no allow, no machine, and a name to be filled in', () => {
    const { tailnet: _, ...rest } = panda()
    const { mesh, questions } = scanned(rest)
    expect(mesh()).toMatchObject({ tailnet: 'your-tailnet.ts.net' })
    expect(mesh().machine).toBeUndefined()
    expect(clusterServices(mesh()).flatMap(({ allow }) => allow)).toEqual([])
    expect(questions).toContain('The tailnet is not known. Which one is it?')
  })
})
