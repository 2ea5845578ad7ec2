import { z } from 'zod'
import { messageOf, OnehopError } from '../errors.ts'
import { type Ran, runProgram } from './run-program.ts'

/**
 * The running containers with their port maps. Where `docker ps` may not be asked, those named `nodes`: a cluster in Docker
 * gives each node its container's name. Of what `docker inspect` says only names, labels and ports are kept: the
 * environment of a container often holds secrets.
 *
 * @throws OnehopError docker-unreadable
 */
export async function readContainers({ nodes, bin = 'docker' }: Asked): Promise<Container[]> {
  const listed = await run(bin, ['ps', '--quiet', '--no-trunc'])
  const names = listed.failed ? nodes : listed.stdout.split('\n').filter(Boolean)
  if (names.length === 0) {
    if (listed.failed) throw unreadable(listed)
    return []
  }
  // With one name unknown it fails, and still tells of the others.
  const inspected = await run(bin, ['inspect', ...names])
  const found = parse(inspected.stdout)
  if (!found?.length) throw unreadable(inspected)
  return found.map(containerOf)
}

export type Container = {
  name: string
  /** Whether its labels say that it is a part of a cluster in Docker: of Talos, kind, k3d or minikube. */
  isNode: boolean
  maps: Array<{ hostAddress: string; hostPort: number; containerPort: number; protocol: string }>
}
type Asked = { nodes: string[]; bin?: string }

const binding = z.object({ HostIp: z.string().nullish(), HostPort: z.string() })
const bindings = z.record(z.string(), z.array(binding).nullish()).nullish()
const inspectedSchema = z.array(
  z.object({
    Name: z.string(),
    Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
    HostConfig: z.object({ PortBindings: bindings }).nullish(),
    NetworkSettings: z.object({ Ports: bindings }).nullish(),
  }),
)

function parse(stdout: string) {
  try {
    return inspectedSchema.parse(JSON.parse(stdout))
  } catch {
    return undefined
  }
}

const nodeLabels = ['talos.owned', 'io.x-k8s.kind.role', 'k3d.role', 'name.minikube.sigs.k8s.io']

function containerOf({
  Name,
  Config,
  HostConfig,
  NetworkSettings,
}: z.output<typeof inspectedSchema>[number]): Container {
  // What is bound now, also where Docker has chosen the port; a container's own wish where that is not told.
  const bound = Object.keys(NetworkSettings?.Ports ?? {}).length > 0 ? NetworkSettings?.Ports : undefined
  const maps = Object.entries(bound ?? HostConfig?.PortBindings ?? {}).flatMap(([key, hosts]) => {
    const [port, protocol = 'tcp'] = key.split('/')
    const map = { containerPort: Number(port), protocol }
    return (hosts ?? []).flatMap(({ HostIp, HostPort }) =>
      // A wish may also be a range, or left to Docker.
      /^\d+$/.test(HostPort) && HostPort !== '0'
        ? [{ hostAddress: HostIp ?? '', hostPort: Number(HostPort), ...map }]
        : [],
    )
  })
  const labels = Object.keys(Config?.Labels ?? {})
  return { name: Name.replace(/^\//, ''), isNode: nodeLabels.some((each) => labels.includes(each)), maps }
}

const run = (bin: string, args: string[]) =>
  runProgram(bin, args).catch((thrown: unknown) => {
    throw unreadable({ stderr: '', message: `${[bin, ...args].join(' ')}: ${messageOf(thrown)}` }, thrown)
  })

const unreadable = ({ stderr, message }: Pick<Ran, 'stderr' | 'message'>, cause?: unknown) =>
  new OnehopError(
    'docker-unreadable',
    { message: ((stderr || message).trim().split('\n')[0] ?? '').slice(0, 200) },
    { cause },
  )
