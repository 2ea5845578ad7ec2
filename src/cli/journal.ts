import { stringify } from 'yaml'
import { isLost } from '../journal-records.ts'
import { expectKnown, forgottenIn, isClusterService } from '../plan/mesh.ts'
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
  const forgotten = forgottenIn(mesh, entries).map((each) => each.service)
  expectKnown(mesh, forgotten, service === undefined ? [] : [service])
  const services = [...mesh.services.filter(isClusterService).map((each) => each.name), ...forgotten]
    .filter((name) => service === undefined || name === service)
    .map((name) => {
      const entry = entries.find((one) => one.service === name)
      const here = mesh.services.filter(isClusterService).find((each) => each.name === name)
      const state = entry?.state ?? 'planned'
      // What mesh.yaml does not name can only be taken back.
      const possible = here
        ? commandsFrom(state, name, { oldPath: hasOldPath(here), fellBack: entry?.fellBack !== undefined })
        : [`onehop rollback ${name}`]
      return { service: name, state, possible, ...entry }
    })
  const running = requests
    .filter((each) => each.state === 'running')
    .map((each) => ({ ...each, lost: isLost(each) }))
  const result = { folder: kept.folder, services, running }
  return { result, text: stringify(result) }
}
