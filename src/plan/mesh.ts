import { homedir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { OnehopError } from '../errors.ts'
import { dnsLabel as label } from '../names.ts'
import { cronProblem } from './cron.ts'
import { driftKindNames, isDriftName } from './drift-kinds.ts'

/**
 * mesh.yaml, parsed: what the user wants. Unknown keys, doubled hostnames and names that DNS cannot hold are refused
 * with their path. `file` is only for messages and as the base of relative paths; `~` is the user's home.
 *
 * @throws OnehopError mesh-invalid, naming each path and what was expected there
 */
export function parseMesh(text: string, file: string): Mesh {
  const document = parseDocument(text, { uniqueKeys: true })
  const [broken] = document.errors
  if (broken)
    throw new OnehopError('mesh-invalid', { file, problems: broken.message.split('\n')[0] ?? 'no YAML' })
  if (document.contents === null) throw new OnehopError('mesh-invalid', { file, problems: 'it is empty' })
  const parsed = meshSchema.safeParse(document.toJS())
  if (!parsed.success) throw new OnehopError('mesh-invalid', { file, problems: problemsOf(parsed.error) })
  const mesh = withPaths(parsed.data, dirname(resolve(file)))
  return mesh.simulated === undefined
    ? mesh
    : withinWorld(mesh, mesh.simulated, { file, isSet: document.has('state') })
}

/** What a simulated world writes stays in its folder: a real Caddyfile, journal or list of services is refused. */
function withinWorld(mesh: Mesh, folder: string, { file, isSet }: { file: string; isSet: boolean }): Mesh {
  const state = isSet ? mesh.state : join(folder, 'state')
  const outside = Object.entries({ state, 'caddy.file': mesh.caddy.file, books: mesh.books }).flatMap(
    ([key, path]) =>
      path === undefined || path.startsWith(`${folder}${sep}`)
        ? []
        : [`${key}: expected a path in the simulated world ${folder}, got ${path}`],
  )
  if (outside.length > 0) throw new OnehopError('mesh-invalid', { file, problems: outside.join('; ') })
  return { ...mesh, state }
}

/** Each problem of a zod error as `path: what was expected`, joined by `; `. */
export function problemsOf(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      // A bad key's own expectation stands one level deeper.
      const inner =
        issue.code === 'invalid_key' ? ` (${issue.issues.map((each) => each.message).join(', ')})` : ''
      return `${issue.path.map(String).join('.') || '(top)'}: ${issue.message}${inner}`
    })
    .join('; ')
}

const port = z.int().min(1).max(65535)
const file = z.string().min(1)
const seconds = z.number().positive()
const hostPort = z.string().regex(/^[^\s/]+:\d{1,5}$/, 'expected host:port')
const credentials = z.strictObject({ clientIdFile: file, clientSecretFile: file })

/** How a port is asked: `identity` is a path whose answer names the backend, so that old and new path can be compared. */
const probe = z.union(
  [
    z.enum(['tcp', 'redis']),
    z.strictObject({ http: z.string().startsWith('/'), identity: z.string().startsWith('/').optional() }),
  ],
  { error: 'expected tcp, redis, or {http: /path, identity: /path}' },
)

type Port = { port: number; portMap: number; nodePort?: number; probe?: z.output<typeof probe> }
const portEntry = z.union(
  [
    port.transform((number): Port => ({ port: number, portMap: number })),
    z
      .strictObject({ port, portMap: port.optional(), nodePort: port.optional(), probe: probe.optional() })
      .transform(
        ({ port: number, portMap = number, nodePort, probe: own }): Port => ({
          port: number,
          portMap,
          ...(nodePort !== undefined && { nodePort }),
          ...(own && { probe: own }),
        }),
      ),
  ],
  { error: 'expected a port from 1 to 65535, or {port, portMap, probe}' },
)

const driftKind = z.enum(driftKindNames, { error: 'expected a kind of drift, as in docs/drift.md' })
const repair = z.union([z.boolean(), z.array(driftKind)], {
  error: 'expected true, false, or a list of kinds as in docs/drift.md',
})

const clusterService = z
  .strictObject({
    service: z.string().regex(/^[a-z0-9-]+\/[a-z0-9-]+$/, 'expected namespace/name of a Kubernetes Service'),
    hostname: label.optional(),
    tag: z
      .string()
      .regex(/^tag:[a-z][a-z0-9-]*$/, 'expected tag:name')
      .optional(),
    ports: z.array(portEntry).min(1),
    probe: probe.default('tcp'),
    routes: z.record(z.string().min(1), port).default({}),
    allow: z.array(z.string().min(1)).default([]),
    proveFrom: z.array(label).max(8).default([]),
    engine: z.boolean().default(false),
    /** Which drift of it is repaired by itself: all, none, or these kinds. Without it, what drift.repair says. */
    repair: repair.optional(),
    /** How the operator exposes it: every port as it is (`layer3`, no TLS), or one HTTP port with a certificate on 443. */
    mode: z.enum(['layer3', 'https'], { error: 'expected layer3 or https' }).default('layer3'),
    /** `none`: it was never reachable but inside the cluster, so that there is nothing to prove before, to switch or to retire. */
    oldPath: z.literal('none', { error: 'expected none, or no oldPath at all' }).optional(),
  })
  .superRefine((service, context) => {
    if (service.mode === 'https') refuseHttps(service, context)
    for (const [site, number] of Object.entries(service.routes))
      if (!service.ports.some((each) => each.port === number))
        context.addIssue({
          code: 'custom',
          path: ['routes', site],
          message: `port ${number} is not one of this service's ports`,
        })
  })
/** What the operator's Ingress cannot carry: it answers HTTP on 443, one name for each port. */
function refuseHttps(
  { ports, probe: general, engine }: { ports: Port[]; probe: z.output<typeof probe>; engine: boolean },
  context: z.RefinementCtx,
): void {
  const refuse = (path: Array<string | number>, message: string) =>
    context.addIssue({ code: 'custom', path, message })
  if (ports.length > 1)
    refuse(['ports'], 'mode https has one name for one port: name each further port as a service of its own')
  if (typeof (ports[0]?.probe ?? general) !== 'object')
    refuse(['probe'], 'mode https carries HTTP alone: expected {http: /path}')
  if (engine)
    refuse(['mode'], 'the engine also needs its port for workers (Inngest connect): expected layer3')
}
const hostService = z.strictObject({ host: hostPort, keep: z.literal('caddy') })

const service = z
  .unknown()
  .transform((value, context): z.output<typeof clusterService> | z.output<typeof hostService> => {
    // Told apart by hand, so that a wrong key is reported at its own path and not as "no union member fits".
    const schema =
      typeof value === 'object' && value !== null && 'host' in value ? hostService : clusterService
    const parsed = schema.safeParse(value)
    if (parsed.success) {
      if (schema === clusterService) refuseOldPath(value as RawService, context)
      return parsed.data
    }
    for (const issue of parsed.error.issues)
      context.addIssue({ code: 'custom', path: issue.path, message: issue.message })
    return z.NEVER
  })

type RawService = { oldPath?: unknown; routes?: Record<string, unknown>; ports: unknown[] }

/** As it is written: once read, every port has a port map. */
function refuseOldPath({ oldPath, routes = {}, ports }: RawService, context: z.RefinementCtx): void {
  if (oldPath !== 'none') return
  const refuse = (path: Array<string | number>, what: string) =>
    context.addIssue({ code: 'custom', path, message: `${what} is an old path, and oldPath is none` })
  for (const site of Object.keys(routes)) refuse(['routes', site], 'a route of Caddy')
  for (const [index, each] of ports.entries())
    for (const key of ['portMap', 'nodePort'])
      if (typeof each === 'object' && each !== null && key in each) refuse(['ports', index, key], `a ${key}`)
}

const meshSchema = z
  .strictObject({
    kubernetes: z.strictObject({ context: z.string().min(1), kubeconfig: file.optional() }),
    tailnet: z
      .string()
      .regex(/^[a-z0-9.-]+\.[a-z]+$/, 'expected the DNS name of the tailnet, like tail7af24.ts.net'),
    machine: label.optional(),
    tailscale: z.strictObject({
      api: z.url().default('https://api.tailscale.com'),
      cli: z.string().default('tailscale'),
      credentials,
    }),
    operator: z.strictObject({
      namespace: label.default('tailscale'),
      release: label.default('tailscale-operator'),
      chart: z.string().default('tailscale-operator'),
      repository: z.url().optional(),
      version: z.string().regex(/^\d+\.\d+\.\d+$/, 'expected a version like 1.102.4'),
      tag: z.string().startsWith('tag:').default('tag:k8s-operator'),
      hostname: label.default('tailscale-operator'),
      proxyClass: label.default('onehop'),
      values: z.record(z.string(), z.unknown()).default({}),
      credentials,
    }),
    caddy: z.strictObject({
      file,
      admin: z.url().default('http://localhost:2019'),
      bin: z.string().default('caddy'),
    }),
    engine: z.strictObject({
      url: z.url(),
      eventKeyFile: file.optional(),
      signingKeyFile: file.optional(),
      serveOrigin: z.url().optional(),
      patience: seconds.default(120),
      lost: z.enum(['rollback', 'resume']).default('rollback'),
    }),
    /** `path` is where its app is mounted in another app's process; by itself it is at the root. */
    worker: z
      .strictObject({
        listen: hostPort.default('127.0.0.1:3111'),
        path: z
          .string()
          .regex(/^(\/[\w.-]+)*$/, 'expected a path such as /onehop')
          .default(''),
        /** Further hosts that the worker answers for: the name that a reverse proxy or Prometheus uses. */
        hosts: z
          .array(
            z
              .string()
              .max(259)
              .regex(
                /^([a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:\d{1,5})?$/,
                'expected a host in lower case, with or without a port, like panda.tail7af24.ts.net or 192.168.1.5:3111',
              ),
          )
          .max(100)
          .default([]),
      })
      .prefault({}),
    state: file.default('~/.local/state/onehop'),
    /** The folder of a simulated world: every command then works on that one, and on nothing real. */
    simulated: file.optional(),
    deadlines: z
      .strictObject({
        /** For each question that onehop check asks. */
        check: seconds.default(5),
        helm: seconds.default(300),
        operator: seconds.default(120),
        device: seconds.default(120),
        certificate: seconds.default(180),
        proof: seconds.default(45),
        undo: seconds.default(120),
        /** How long a narrowed policy waits for somebody to say that he is not locked out. */
        confirm: seconds.default(600),
      })
      .prefault({}),
    soak: z
      .strictObject({
        seconds: z.number().min(0).default(30),
        every: seconds.default(2),
        failures: z.int().min(0).default(0),
        p99: z.number().positive().optional(),
      })
      .prefault({}),
    retire: z
      .strictObject({ hold: z.number().min(0).default(86_400), every: seconds.default(5) })
      .prefault({}),
    books: file.optional(),
    /** The scheduled look for drift. `known` are differences that are meant: `kind`, or `kind subject`. */
    drift: z
      .strictObject({
        cron: z
          .string()
          .regex(/^\S+( \S+){4}$/, { error: 'expected five fields, like */15 * * * *', abort: true })
          .superRefine((schedule, context) => {
            const message = cronProblem(schedule)
            if (message !== undefined) context.addIssue({ code: 'custom', message })
          })
          .default('*/15 * * * *'),
        zone: z.string().refine(isZone, 'expected a time zone, like Europe/Paris').optional(),
        repair: repair.default(false),
        known: z
          .array(
            z.string().refine(isDriftName, {
              error: 'expected a kind of drift, or a kind and its subject, as onehop drift prints them',
            }),
          )
          .default([]),
        webhookFile: file.optional(),
      })
      .prefault({}),
    watch: z.strictObject({ every: seconds.default(30), failures: z.int().min(1).default(3) }).prefault({}),
    services: z
      .record(label, service)
      .refine((services) => Object.keys(services).length > 0, 'expected at least one service'),
  })
  .superRefine((mesh, context) => {
    const seen = new Map<string, string>()
    const machine = mesh.machine ?? machineOfRoutes(mesh)
    const hosts = Object.entries(mesh.services).flatMap(([name, each]) =>
      'host' in each ? [[name, each] as const] : [],
    )
    for (const [name, each] of Object.entries(mesh.services)) {
      if ('host' in each) continue
      for (const [what, value] of [
        ['hostname', each.hostname ?? name],
        ['service', each.service],
        ['tag', each.tag ?? `tag:svc-${name}`],
      ] as const) {
        const other = seen.get(`${what} ${value}`)
        if (other)
          context.addIssue({
            code: 'custom',
            path: ['services', name, what],
            message: `${value} is already that of ${other}`,
          })
        seen.set(`${what} ${value}`, name)
      }
      // Without its own name, this machine would wait for itself as for another one, and could be shut out.
      const needs = each.proveFrom.length > 0 ? 'proveFrom' : each.allow.length > 0 ? 'allow' : undefined
      if (needs && !machine)
        context.addIssue({
          code: 'custom',
          path: ['services', name, needs],
          message:
            'expected machine at the top of mesh.yaml: the name of the machine that the worker runs on',
        })
      // Or a route that leads to that process would be taken for the service's, and moved.
      for (const [kept, { host }] of hosts)
        each.ports.forEach(({ port, portMap }, index) => {
          if (each.oldPath !== 'none' && host.endsWith(`:${portMap}`))
            context.addIssue({
              code: 'custom',
              path: ['services', name, 'ports', index],
              message: `the port map of ${port} is port ${portMap} of this machine, which is that of ${kept}`,
            })
        })
      // Caddy and the proofs reach every service from this machine.
      if (
        machine &&
        each.allow.length > 0 &&
        ![machine, `${machine}.${mesh.tailnet}`, '*'].some((one) => each.allow.includes(one))
      )
        context.addIssue({
          code: 'custom',
          path: ['services', name, 'allow'],
          message: `expected ${machine} among them: onehop proves it, and Caddy reaches it, from that machine`,
        })
    }
  })

/** Intl takes offsets as well, which the engine does not. */
function isZone(timeZone: string): boolean {
  try {
    return /^[A-Z]/i.test(timeZone) && Boolean(new Intl.DateTimeFormat('en', { timeZone }))
  } catch {
    return false
  }
}

/** The machine whose Caddy serves the routes, where their sites have its name: it is the one that the worker runs on. */
function machineOfRoutes({ tailnet, services }: Pick<z.output<typeof meshSchema>, 'tailnet' | 'services'>) {
  const sites = Object.values(services).flatMap((each) => ('host' in each ? [] : Object.keys(each.routes)))
  const names = sites.flatMap((site) => {
    const host = site
      .replace(/^https?:\/\//, '')
      .replace(/[:/].*$/, '')
      .toLowerCase()
    return host.endsWith(`.${tailnet}`) ? [host.slice(0, -tailnet.length - 1)] : []
  })
  const [name, ...others] = new Set(names)
  return others.length === 0 ? name : undefined
}

/** A service of the cluster, with every default filled in. */
export type ClusterService = z.output<typeof clusterService> & {
  name: string
  namespace: string
  object: string
  hostname: string
  tag: string
}
/** A process on this machine that stays behind Caddy. */
export type HostService = z.output<typeof hostService> & { name: string }
export type Mesh = Omit<z.output<typeof meshSchema>, 'services'> & {
  services: Array<ClusterService | HostService>
}

export const isClusterService = (each: ClusterService | HostService): each is ClusterService =>
  'service' in each

/**
 * What can be taken back or looked at: services of mesh.yaml, and what the journal has still standing of one that was
 * taken out of it (`forgotten`).
 *
 * @throws OnehopError service-unknown
 */
export function expectKnown(mesh: Mesh, forgotten: string[], names: string[] = []): void {
  selectServices(
    mesh,
    names.filter((each) => !forgotten.includes(each)),
  )
}

/** Of some records of the journal those with something standing that mesh.yaml does not name any more. */
export const forgottenIn = <E extends { service: string; state: string }>(mesh: Mesh, entries: E[]): E[] =>
  entries.filter(
    (each) => each.state !== 'restored' && !mesh.services.some(({ name }) => name === each.service),
  )

/**
 * The cluster services named (all without names), in mesh.yaml's order.
 *
 * @throws OnehopError service-unknown
 */
export function selectServices(mesh: Mesh, names?: string[]): ClusterService[] {
  const all = mesh.services.filter(isClusterService)
  for (const name of names ?? [])
    if (!all.some((each) => each.name === name))
      throw new OnehopError('service-unknown', {
        service: name,
        known: all.map((each) => each.name).join(', '),
      })
  return names ? all.filter((each) => names.includes(each.name)) : all
}

/** The machines besides this one whose proof counts before a service is moved. This one always proves. */
export const vantagesOf = (mesh: Mesh, service: ClusterService): string[] =>
  [...new Set(service.proveFrom)].filter((each) => each !== mesh.machine)

/** The JSON Schema of mesh.yaml, for editors. */
export function meshJsonSchema() {
  const options = { io: 'input', unrepresentable: 'any' } as const
  return z.toJSONSchema(meshSchema, {
    ...options,
    override({ zodSchema, jsonSchema }) {
      if (zodSchema !== service.in) return
      // Told apart by hand above, which a schema cannot say by itself.
      jsonSchema.anyOf = [clusterService, hostService].map((each) => {
        const { $schema: _, ...schema } = z.toJSONSchema(each, options)
        return schema
      })
    },
  })
}

function withPaths(mesh: z.output<typeof meshSchema>, base: string): Mesh {
  const at = (path: string) => resolve(base, path.replace(/^~(?=\/)/, homedir()))
  const keys = (each: z.output<typeof credentials>) => ({
    clientIdFile: at(each.clientIdFile),
    clientSecretFile: at(each.clientSecretFile),
  })
  const { kubeconfig, ...kubernetes } = mesh.kubernetes
  const { eventKeyFile, signingKeyFile, ...engine } = mesh.engine
  const machine = mesh.machine ?? machineOfRoutes(mesh)
  return {
    ...mesh,
    ...(machine !== undefined && { machine }),
    kubernetes: { ...kubernetes, ...(kubeconfig && { kubeconfig: at(kubeconfig) }) },
    engine: {
      ...engine,
      ...(eventKeyFile && { eventKeyFile: at(eventKeyFile) }),
      ...(signingKeyFile && { signingKeyFile: at(signingKeyFile) }),
    },
    tailscale: { ...mesh.tailscale, credentials: keys(mesh.tailscale.credentials) },
    operator: {
      ...mesh.operator,
      chart:
        mesh.operator.chart.startsWith('.') || mesh.operator.chart.startsWith('~')
          ? at(mesh.operator.chart)
          : mesh.operator.chart,
      credentials: keys(mesh.operator.credentials),
    },
    caddy: { ...mesh.caddy, file: at(mesh.caddy.file) },
    state: at(mesh.state),
    ...(mesh.simulated !== undefined && { simulated: at(mesh.simulated) }),
    ...(mesh.books !== undefined && { books: at(mesh.books) }),
    drift: {
      ...mesh.drift,
      ...(mesh.drift.webhookFile !== undefined && { webhookFile: at(mesh.drift.webhookFile) }),
    },
    services: Object.entries(mesh.services).map(([name, each]) => {
      if ('host' in each) return { ...each, name }
      const [namespace = '', object = ''] = each.service.split('/')
      return {
        ...each,
        name,
        namespace,
        object,
        hostname: each.hostname ?? name,
        tag: each.tag ?? `tag:svc-${name}`,
      }
    }),
  }
}
