import { world } from './panda.ts'

/** Names of objects, nothing where there are none. */
export const getNames = (...args: string[]) =>
  world.kubectl(['get', ...args, '--ignore-not-found', '-o', 'name'])
/** The operator's own devices on the tailnet. */
export const ownDevices = async () => {
  const nodes = (await world.headscale(['nodes', 'list'])) as Array<{ id: number | string; name: string }>
  return nodes.filter(({ name }) => name.startsWith('tailscale-operator')).map(({ id }) => String(id))
}
/** What is left of the operator, anywhere. */
export const leftovers = async () => ({
  namespace: await getNames('namespace', 'tailscale'),
  kinds: (await getNames('customresourcedefinitions'))
    .split('\n')
    .filter((each) => each.includes('tailscale.com')),
  roles: (await getNames('clusterroles')).split('\n').filter((each) => each.includes('tailscale-operator')),
  devices: await ownDevices(),
})
export const none = { namespace: '', kinds: [], roles: [], devices: [] }
