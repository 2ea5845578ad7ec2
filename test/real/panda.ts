import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../sandbox/cluster.ts'
import { attachSandbox } from '../../sandbox/start.ts'
import { onehop as run } from '../../sandbox/worker.ts'
import type { Entry } from '../../src/journal-records.ts'

export const world = attachSandbox()
export const caddyfile = join(world.panda.home, '.local/caddy/Caddyfile')
export const meshFile = join(world.panda.home, 'mesh.yaml')
export const kubeconfig = join(world.panda.home, '.kube/config')
export const read = (file: string) => readFileSync(file, 'utf8')
export const onehop = (...args: string[]) => run(world, args)

/** The journal's entry of a service. */
export function entryOf(service: string): Entry | undefined {
  try {
    return JSON.parse(read(join(world.panda.home, `.local/state/onehop/services/${service}.json`))) as Entry
  } catch {
    return undefined
  }
}

/** Waits for a condition; the last error is the cause when it does not come. */
export const waitFor = (what: string, condition: () => boolean | Promise<boolean>, seconds = 60) =>
  until(what, condition, { seconds, interval: 50 })

/** What a Service is to its owner: values, finalizers, and who owns which field; without times and versions. */
export async function serviceOwned(name: string): Promise<unknown> {
  const { metadata, spec } = JSON.parse(
    await world.kubectl(['-n', 'joelclaw', 'get', 'service', name, '-o', 'json', '--show-managed-fields']),
  )
  const owners = metadata.managedFields.map((each: Record<string, unknown>) => ({ ...each, time: undefined }))
  return {
    annotations: metadata.annotations,
    finalizers: metadata.finalizers,
    labels: metadata.labels,
    uid: metadata.uid,
    spec,
    owners,
  }
}

/** Asks the engine's GraphQL from panda. */
export async function engine<T>(query: string, variables: Record<string, unknown> = {}): Promise<T> {
  const body = JSON.stringify({ query, variables })
  const { stdout } = await world.panda.run('curl', [
    '-sf',
    '-H',
    'content-type: application/json',
    '-d',
    body,
    'http://localhost:8288/v0/gql',
  ])
  return JSON.parse(stdout).data
}

/** Posts an event to the engine as an agent would, with an id of its own. */
export async function sendEvent(id: string, name: string, data: unknown): Promise<void> {
  const key = read(join(world.panda.home, '.config/onehop/inngest-event-key')).trim()
  await world.panda.run('curl', [
    '-sf',
    '-d',
    JSON.stringify({ id, name, data }),
    `http://localhost:8288/e/${key}`,
  ])
}

export type Request = { state: string; run: string; failure?: { code: string; message: string } }

export function requestOf(id: string): Request | undefined {
  try {
    return JSON.parse(read(join(world.panda.home, `.local/state/onehop/requests/${id}.json`))) as Request
  } catch {
    return undefined
  }
}

/** How many writes onehop has made so far: to the cluster, to Tailscale's API, to Caddy. */
export function writesByUs(): { cluster: number; tailscale: number; caddy: number } {
  const lines = (file: string) => (existsSync(file) ? read(file).trim().split('\n').filter(Boolean) : [])
  const audit = lines(world.log('audit')).map(
    (line) => JSON.parse(line) as { verb: string; requestURI: string; userAgent?: string },
  )
  const api = lines(join(world.folder, 'logs/tailscale-api.jsonl')).map(
    (line) => JSON.parse(line) as { client: string; method: string; path: string },
  )
  return {
    cluster: audit.filter((each) => each.requestURI.includes('fieldManager=onehop')).length,
    tailscale: api.filter(
      (each) => each.client === 'onehop' && each.method !== 'GET' && !each.path.includes('/oauth/'),
    ).length,
    caddy: lines(world.log('caddy')).filter(
      (line) => /"method":"(POST|PUT|PATCH|DELETE)"/.test(line) && line.includes('admin.api'),
    ).length,
  }
}

/** The devices on the tailnet that bear the name of one of mesh.yaml's services, or that name with a number. */
export async function serviceDevices(): Promise<string[]> {
  const devices = (await world.headscale(['nodes', 'list'])) as Array<{ name: string }>
  return devices
    .map((each) => each.name)
    .filter((name) => /^(redis|qdrant|inngest|livekit|pds|typesense)(-\d+)?$/.test(name))
}

/** The engine's word for how a run stands. */
export async function runStatus(id: string | undefined): Promise<string> {
  const { run } = await engine<{ run: { status: string } }>(
    'query($id: String!) { run(runID: $id) { status } }',
    { id },
  )
  return run.status
}
