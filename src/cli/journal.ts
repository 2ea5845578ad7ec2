import { stringify } from 'yaml'
import { isLost } from '../journal-records.ts'
import { selectServices } from '../plan/mesh.ts'
import { hasOldPath } from '../plan/paths.ts'
import { commandsFrom } from '../plan/states.ts'
import { createSetup } from '../setup.ts'
import type { Answer } from './output.ts'

/** onehop journal [SERVICE]: the journal as it is kept, and the commands that are possible now. Needs no engine and no cluster. */
export async function journal({
  mesh: file,
  service,
}: {
  mesh: string
  service: string | undefined
}): Promise<Answer> {
  const setup = createSetup(file)
  const mesh = await setup.mesh()
  const kept = await setup.journal()
  const [entries, requests] = [await kept.list(), await kept.listRequests()]
  const services = selectServices(mesh, service === undefined ? undefined : [service]).map((each) => {
    const { name } = each
    const entry = entries.find((one) => one.service === name)
    const state = entry?.state ?? 'planned'
    const fellBack = entry?.fellBack !== undefined
    const possible = commandsFrom(state, name, { oldPath: hasOldPath(each), fellBack })
    return { service: name, state, possible, ...entry }
  })
  const running = requests
    .filter((each) => each.state === 'running')
    .map((each) => ({ ...each, lost: isLost(each) }))
  const result = { folder: kept.folder, services, running }
  return { result, text: stringify(result) }
}
