import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { messageOf, OnehopError, toOnehopError } from '../errors.ts'
import { inTime } from '../in-time.ts'
import { portsToAsk } from '../plan/scan.ts'
import type { Answers, Inventory, Unread } from '../plan/scan-inventory.ts'
import { askPort } from './ask-port.ts'
import { createCaddy } from './caddy.ts'
import { readContainers } from './docker.ts'
import { inBatches } from './in-batches.ts'
import { currentContext } from './kube-config.ts'
import { createKubernetes } from './kubernetes.ts'
import { readListeners } from './listeners.ts'
import { readNodeNames } from './node-names.ts'
import { createProbes } from './probes.ts'
import { readTailnet } from './tailscale.ts'

/** Milliseconds for each part of the inventory, whatever calls it takes. */
const lookDeadline = 14_000

/**
 * All that scan looks at, side by side: one list of the Services, one of the nodes, one look at Docker, Caddy, tailscaled and
 * the listeners of this machine. What cannot be read stands in `unread`; only the Services have to be there.
 *
 * @throws OnehopError flag-invalid, kubernetes-*
 */
export async function readInventory(asked: Asked): Promise<Inventory> {
  refuseFlags(asked)
  const unread: Unread[] = []
  const part = <T>(what: string, read: () => Promise<T>): Promise<T | undefined> =>
    inTime(lookDeadline, read).catch((thrown: unknown) => {
      unread.push({ what, why: toOnehopError(thrown).message })
      return undefined
    })
  const { context, from, kubeconfig } = contextOf(asked)
  const unreachable = ({ message }: Error) => new OnehopError('kubernetes-unreachable', { context, message })
  const services = inTime(
    lookDeadline,
    () => createKubernetes({ context, kubeconfig }).services(asked.namespaces),
    unreachable,
  )
  const nodes = part('the names of the nodes', () => readNodeNames({ context, kubeconfig })).then(
    (names) => names ?? [],
  )
  const [cluster, docker, caddy, tailnet, listeners] = await Promise.all([
    Promise.all([services, nodes]),
    part('Docker', async () => readContainers({ nodes: await nodes })),
    readCaddy(asked, part),
    part('the tailnet', () => readTailnet('tailscale')),
    part('the listeners of this machine', readListeners),
  ])
  if (asked.tailnet && tailnet && tailnet.name !== asked.tailnet)
    unread.push({
      what: `the machines of ${asked.tailnet}`,
      why: `tailscaled of this machine is on ${tailnet.name}`,
    })
  return {
    cluster: {
      context,
      from,
      ...(kubeconfig !== undefined && { kubeconfig: short(kubeconfig) }),
      namespaces: asked.namespaces,
      services: cluster[0],
      nodes: cluster[1],
    },
    ...(docker && { docker }),
    caddy,
    ...tailnetOf(asked.tailnet, tailnet),
    ...(listeners && { listeners }),
    unread,
  }
}

/**
 * What the ports of this machine speak that may be port maps, asked side by side. What else Caddy dials here, and what the
 * listeners do not name (those of other users, on macOS), is only connected to, and joins them in the answer.
 */
export async function askPorts(inventory: Inventory): Promise<{ inventory: Inventory; answers: Answers }> {
  const { portMaps, others } = portsToAsk(inventory)
  const { tcp } = createProbes()
  const spoken = await inBatches(portMaps, async (port) => [port, await askPort(port)] as const, {
    milliseconds: 4000,
    late: (port) => [port, { kind: 'silent' }] as const,
  })
  const accepting = await inBatches(
    others,
    async (port) => ((await tcp({ host: 'localhost', port })).ok ? [port] : []),
    { milliseconds: 2000, late: () => [] },
  )
  const found = accepting.flat().map((port) => ({ port, process: null }))
  return {
    answers: new Map(spoken),
    inventory: { ...inventory, listeners: [...(inventory.listeners ?? []), ...found] },
  }
}

export type Asked = {
  namespaces: string[]
  context?: string | undefined
  kubeconfig?: string | undefined
  caddyfile?: string | undefined
  caddyAdmin?: string | undefined
  tailnet?: string | undefined
}

const refuse = (message: string) => new OnehopError('flag-invalid', { message, command: 'scan' })

/** They go into the file as they are. */
function refuseFlags({ caddyAdmin, tailnet }: Asked): void {
  if (caddyAdmin !== undefined && !/^https?:\/\//.test(caddyAdmin))
    throw refuse(
      `--caddy-admin: expected a URL like http://localhost:2019, got ${JSON.stringify(caddyAdmin)}`,
    )
  if (tailnet !== undefined && !isTailnet(tailnet))
    throw refuse(`--tailnet: expected a DNS name like tail7af24.ts.net, got ${JSON.stringify(tailnet)}`)
}

const isTailnet = (name: string) => /^[a-z0-9.-]+\.[a-z]+$/.test(name)

function contextOf({ context, kubeconfig }: Asked) {
  const set = process.env.KUBECONFIG?.split(delimiter).filter(Boolean) ?? []
  // A worker that is started by the system has no KUBECONFIG, so that mesh.yaml names the file.
  const file = kubeconfig ?? (set.length === 1 ? set[0] : undefined)
  const path = file === undefined ? undefined : resolve(file)
  const named = path ?? (set.length > 1 ? 'KUBECONFIG' : '~/.kube/config')
  const { current, known } = readContexts()
  if (context !== undefined) return { context, from: '--context', kubeconfig: path }
  if (current === undefined)
    throw refuse(
      known.length > 0
        ? `${named} has no current context: name one with --context (${known.join(', ')})`
        : 'there is no kubeconfig: name one with --kubeconfig',
    )
  return { context: current, from: `the current context of ${short(named)}`, kubeconfig: path }

  function readContexts() {
    try {
      return currentContext(path)
    } catch (thrown) {
      throw refuse(`cannot read ${named}: ${messageOf(thrown)}`)
    }
  }
}

async function readCaddy({ caddyfile, caddyAdmin }: Asked, part: Part): Promise<Inventory['caddy']> {
  const admin = caddyAdmin ?? 'http://localhost:2019'
  const file = caddyfile === undefined ? usualCaddyfile() : resolve(caddyfile)
  const caddy = createCaddy({ file, admin })
  const [text, adapted, running] = await Promise.all([
    part('the Caddyfile', async () => (await caddy.readFile()).text),
    existsSync(file) ? part('what the Caddyfile means (caddy adapt)', () => caddy.adaptFile()) : undefined,
    part('what Caddy runs', () => caddy.running()),
  ])
  return {
    file: short(file),
    admin,
    ...(text !== undefined && { text }),
    ...(adapted !== undefined && { adapted }),
    ...(running !== undefined && { running }),
  }
}

type Part = <T>(what: string, read: () => Promise<T>) => Promise<T | undefined>

/** Where Caddyfiles mostly are; the first where none is. */
function usualCaddyfile(): string {
  const [first, ...others] = [
    join(homedir(), '.local/caddy/Caddyfile'),
    '/etc/caddy/Caddyfile',
    '/opt/homebrew/etc/Caddyfile',
    '/usr/local/etc/Caddyfile',
  ] as const
  return [first, ...others].find(existsSync) ?? first
}

function tailnetOf(
  given: string | undefined,
  found: Awaited<ReturnType<typeof readTailnet>> | undefined,
): Pick<Inventory, 'tailnet'> {
  if (found && isTailnet(found.name) && (given === undefined || given === found.name))
    return { tailnet: { ...found, from: 'tailscale status' } }
  return given === undefined ? {} : { tailnet: { name: given, members: [], from: '--tailnet' } }
}

const short = (path: string) => (path.startsWith(`${homedir()}/`) ? `~${path.slice(homedir().length)}` : path)
