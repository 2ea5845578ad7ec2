import { homedir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { OnehopError } from '../errors.ts'

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
  const parsed = meshSchema.safeParse(document.toJS())
  if (!parsed.success) throw new OnehopError('mesh-invalid', { file, problems: problemsOf(parsed.error) })
  return withPaths(parsed.data, dirname(resolve(file)))
}

/** Each problem of a zod error as `path: what was expected`, joined by `; `. */
export function problemsOf(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      // A bad key's own expectation stands one level deeper.
      const inner =
        issue.code === 'invalid_key' ? ` (${issue.issues.map((each) => each.message).join(', ')})` : ''
      return `${issue.path.join('.') || '(top)'}: ${issue.message}${inner}`
    })
    .join('; ')
}

const port = z.int().min(1).max(65535)
const file = z.string().min(1)
const label = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'expected a DNS label: a-z, 0-9 and inner hyphens, at most 63')
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

type Port = { port: number; portMap: number; probe?: z.output<typeof probe> }
const portEntry = z.union(
  [
    port.transform((number): Port => ({ port: number, portMap: number })),
    z.strictObject({ port, portMap: port.optional(), probe: probe.optional() }).transform(
      ({ port: number, portMap = number, probe: own }): Port => ({
        port: number,
        portMap,
        ...(own && { probe: own }),
      }),
    ),
  ],
  { error: 'expected a port from 1 to 65535, or {port, portMap, probe}' },
)

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
    engine: z.boolean().default(false),
  })
  .superRefine((service, context) => {
    for (const [site, number] of Object.entries(service.routes))
      if (!service.ports.some((each) => each.port === number))
        context.addIssue({
          code: 'custom',
          path: ['routes', site],
          message: `port ${number} is not one of this service's ports`,
        })
  })
const hostService = z.strictObject({ host: hostPort, keep: z.literal('caddy') })

const service = z
  .unknown()
  .transform((value, context): z.output<typeof clusterService> | z.output<typeof hostService> => {
    // Told apart by hand, so that a wrong key is reported at its own path and not as "no union member fits".
    const schema =
      typeof value === 'object' && value !== null && 'host' in value ? hostService : clusterService
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues)
      context.addIssue({ code: 'custom', path: issue.path, message: issue.message })
    return z.NEVER
  })

const meshSchema = z
  .strictObject({
    kubernetes: z.strictObject({ context: z.string().min(1), kubeconfig: file.optional() }),
    tailnet: z
      .string()
      .regex(/^[a-z0-9.-]+\.[a-z]+$/, 'expected the DNS name of the tailnet, like tail7af24.ts.net'),
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
    }),
    worker: z.strictObject({ listen: hostPort.default('127.0.0.1:3111') }).prefault({}),
    state: file.default('~/.local/state/onehop'),
    deadlines: z
      .strictObject({
        helm: seconds.default(300),
        operator: seconds.default(120),
        device: seconds.default(120),
        proof: seconds.default(45),
        undo: seconds.default(120),
      })
      .prefault({}),
    soak: z
      .strictObject({
        seconds: z.number().min(0).default(30),
        every: seconds.default(2),
        failures: z.int().min(0).default(0),
      })
      .prefault({}),
    services: z
      .record(label, service)
      .refine((services) => Object.keys(services).length > 0, 'expected at least one service'),
  })
  .superRefine((mesh, context) => {
    const seen = new Map<string, string>()
    for (const [name, each] of Object.entries(mesh.services)) {
      if ('host' in each) continue
      for (const [what, value] of [
        ['hostname', each.hostname ?? name],
        ['service', each.service],
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
    }
  })

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

/** The JSON Schema of mesh.yaml, for editors. */
export const meshJsonSchema = () => z.toJSONSchema(meshSchema, { io: 'input', unrepresentable: 'any' })

function withPaths(mesh: z.output<typeof meshSchema>, base: string): Mesh {
  const at = (path: string) => resolve(base, path.replace(/^~(?=\/)/, homedir()))
  const keys = (each: z.output<typeof credentials>) => ({
    clientIdFile: at(each.clientIdFile),
    clientSecretFile: at(each.clientSecretFile),
  })
  const { kubeconfig, ...kubernetes } = mesh.kubernetes
  const { eventKeyFile, signingKeyFile, ...engine } = mesh.engine
  return {
    ...mesh,
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
