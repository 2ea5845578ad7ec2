import { readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { diffAdapted } from '../../src/plan/caddyfile.ts'
import { caddyfile, read, serviceOwned, world } from '../real/panda.ts'
import { bringTo, service, standing } from './stories.ts'

/** What the world is before the first story, to compare with; and the policy after a move that nothing disturbed. */
export type Start = { caddyfile: string; owned: Owned; policy: Record<State, string> }

/** Moves the service and takes it back, with nobody killed. */
export async function lookAtStart(): Promise<Start> {
  await bringTo('restored')
  const [file, owned, restored] = [read(caddyfile), (await serviceOwned(service)) as Owned, policy()]
  await bringTo('moved')
  const moved = policy()
  await bringTo('restored')
  return { caddyfile: file, owned, policy: { moved, restored } }
}

/** What is wrong with how things stand, or nothing: the world against what the journal says of it. */
export async function problemsOf(start: Start): Promise<string[]> {
  const state = standing()
  if (state !== 'moved' && state !== 'restored') return [`it is ${state}`]
  const found = await Promise.all([
    caddyProblems(start, state),
    clusterProblems(start, state),
    tailnetProblems(start, state),
    pathProblems(state),
  ])
  return found.flat()
}

/** What a killed worker left beside the Caddyfile, a draft or a lock: harmless, and gone with the next change. */
export const leftBehind = () => readdirSync(dirname(caddyfile)).filter((file) => file !== basename(caddyfile))

const policy = () => read(join(world.folder, 'headscale/policy.hujson'))

type State = 'moved' | 'restored'
type Owned = {
  annotations?: Record<string, string>
  finalizers?: string[]
  owners: Array<{ manager: string }>
}

const name = `${service}.tail7af24.ts.net`

/** The file is the first one to the byte, or that with our token alone, and Caddy runs it. */
async function caddyProblems(start: Start, state: State): Promise<string[]> {
  const now = read(caddyfile)
  const wanted =
    state === 'restored'
      ? start.caddyfile
      : start.caddyfile.replace('reverse_proxy localhost:6333', `reverse_proxy ${name}:6333`)
  const [adapted, running] = await Promise.all([
    world.panda.run('caddy', ['adapt', '--config', caddyfile, '--adapter', 'caddyfile']),
    world.panda.run('curl', ['-sf', 'http://localhost:2019/config/']),
  ])
  const [difference] = diffAdapted(JSON.parse(adapted.stdout), JSON.parse(running.stdout))
  return [
    ...(now === wanted ? [] : ['the Caddyfile is another']),
    ...(difference ? [`Caddy runs another ${difference.path}`] : []),
  ]
}

async function clusterProblems(start: Start, state: State): Promise<string[]> {
  const owned = (await serviceOwned(service)) as Owned
  const proxies = await world.kubectl([
    ...['-n', 'tailscale', 'get', 'statefulsets,secrets', '-o', 'name'],
    ...['-l', `tailscale.com/parent-resource=${service}`],
  ])
  if (state === 'restored')
    return [
      ...(isDeepStrictEqual(owned, start.owned) ? [] : [`the Service is another: ${JSON.stringify(owned)}`]),
      ...(proxies.trim() === '' ? [] : [`the operator has left ${proxies.trim().split('\n').join(', ')}`]),
    ]
  const wanted = {
    ...start.owned.annotations,
    'tailscale.com/expose': 'true',
    'tailscale.com/hostname': service,
    'tailscale.com/tags': `tag:svc-${service}`,
  }
  return [
    ...(isDeepStrictEqual(owned.annotations, wanted)
      ? []
      : [`annotations: ${JSON.stringify(owned.annotations)}`]),
    ...(owned.finalizers?.includes('tailscale.com/finalizer') ? [] : ['the operator has set no finalizer']),
    ...(owned.owners.filter(({ manager }) => manager === 'onehop').length === 1
      ? []
      : ['onehop owns no fields']),
  ]
}

async function tailnetProblems(start: Start, state: State): Promise<string[]> {
  const nodes = (await world.headscale(['nodes', 'list'])) as Array<{
    given_name?: string
    name: string
    online?: boolean
  }>
  const devices = nodes.filter((each) => (each.given_name ?? each.name).startsWith(service))
  const changed = policy() === start.policy[state] ? [] : ['the policy is another']
  if (state === 'restored')
    return [...changed, ...devices.map((each) => `device ${each.given_name ?? each.name} is left`)]
  const online = devices.length === 1 && devices[0]?.online === true
  return online ? changed : [...changed, `${devices.length} devices, or not online`]
}

/** Port map and old URL answer in both states, the device name when moved, all from the same pod. */
async function pathProblems(state: State): Promise<string[]> {
  const urls = [
    'http://localhost:6333/instance',
    'https://panda.tail7af24.ts.net:6443/instance',
    ...(state === 'moved' ? [`http://${name}:6333/instance`] : []),
  ]
  const { stdout, exitCode } = await world.panda.run(
    'curl',
    ['-sfk', '--max-time', '5', '--fail-early', ...urls],
    {
      reject: false,
    },
  )
  const answers = stdout.trim().split('\n')
  if (exitCode !== 0) return [`no answer from ${urls[stdout === '' ? 0 : answers.length]} (curl ${exitCode})`]
  return answers.length === urls.length && new Set(answers).size === 1
    ? []
    : [`answers: ${answers.join(' ')}`]
}
