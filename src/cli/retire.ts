import type { RetireResult } from '../functions/retire.ts'
import { forceAction } from '../functions/rollback.ts'
import { inTime } from '../in-time.ts'
import { type Mesh, selectServices } from '../plan/mesh.ts'
import { portMapFlags, portMapsOf } from '../plan/port-map-flags.ts'
import { type CommandSetup, createSetup, type Setup } from '../setup.ts'
import { type Container, readContainers } from '../systems/docker.ts'
import { readNodeNames } from '../systems/node-names.ts'
import { confirm } from './confirm.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'

type Flags = { mesh: string; json?: boolean; force?: boolean; yes?: boolean; service: string }

/** onehop retire SERVICE [--force]: sends mesh/service.retire.requested; the old path goes if it was shown to be unused. */
export async function retire({ mesh: meshFile, json, force, yes, service }: Flags): Promise<Answer> {
  const setup = createSetup(meshFile)
  const mesh = await setup.mesh()
  const [chosen] = selectServices(mesh, [service])
  if (chosen?.engine && !yes) await confirmApps(setup)
  const code = force && (await (await setup.journal()).issueCode(forceAction('retire', service)))
  const record = await sendAndFollow({
    meshFile,
    name: 'mesh/service.retire.requested',
    data: { service, ...(code && { force: code }) },
    quiet: Boolean(json),
  })
  const result = record.result as RetireResult | null
  const entries = await (await setup.journal()).list()
  const [ports, found] = await Promise.all([nodePorts(setup), containers(mesh)])
  const flags = portMapFlags(portMapsOf(mesh, entries, ports), found)
  const text = [
    `${service}: ${result?.state ?? record.state}`,
    ...(result?.notes ?? []),
    flags.dropped.length > 0
      ? `port maps that nothing needs any more: ${flags.dropped.map((each) => each.map).join(' ')}`
      : '',
    flags.dropped.length > 0 ? `for the next cluster: ${flags.command}` : '',
    flags.dropped.length > 0 && flags.covers === 'mesh.yaml'
      ? 'that list covers mesh.yaml only, since Docker tells of no node of the cluster: add what else it publishes'
      : '',
  ]
  return {
    result: { ...result, portMaps: flags },
    text: text.filter(Boolean).join('\n'),
    failure: record.failure,
    next: ['onehop status', `onehop rollback ${service}`],
    ...(result?.state === 'moved' && { exit: 3 as const }),
  }
}

/** Milliseconds for what is only told beside the answer: the retirement itself may have waited for a silent system already. */
const lookDeadline = 3000

/** Which node ports there are, by service; a cluster that cannot be asked leaves it to mesh.yaml. */
async function nodePorts(setup: Setup) {
  const { mesh, systems } = await setup.work()
  const services = await inTime(lookDeadline, () => systems.kubernetes.services()).catch(() => [])
  const there = new Map(services.map((each) => [`${each.namespace}/${each.name}`, each.ports]))
  return Object.fromEntries(selectServices(mesh).map(({ name, service }) => [name, there.get(service) ?? []]))
}

/** The containers of this machine; none where Docker cannot be read. There may be nodes of other clusters among them. */
async function containers({ kubernetes, simulated }: Mesh): Promise<Container[]> {
  // The programs of this machine know nothing of a simulated world.
  if (simulated !== undefined) return []
  const nodes = await inTime(lookDeadline, () => readNodeNames(kubernetes)).catch((): string[] => [])
  const found = await inTime(lookDeadline, () => readContainers({ nodes })).catch(() => [])
  const isKnown = ({ name }: Container) => nodes.includes(name)
  return found.some(isKnown) ? found.map((each) => ({ ...each, isNode: isKnown(each) })) : found
}

/** Every app that the engine calls, or that dials it, may use its old path: only its user can know. */
async function confirmApps(setup: CommandSetup): Promise<void> {
  const apps = (await (await setup.engine()).apps()).map(
    ({ name, url: at }) => `  ${name}${at ? ` at ${at}` : ''}`,
  )
  await confirm({
    command: 'retire',
    text: `these apps are registered with the engine; each must reach it by its new name:\n${apps.join('\n')}`,
    question: 'Do they? (yes/no) ',
  })
}
