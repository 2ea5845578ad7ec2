import Table from 'cli-table3'
import { createJournal } from '../journal.ts'
import { loadMesh } from '../load-mesh.ts'
import { isClusterService } from '../plan/mesh.ts'
import { pathsOf } from '../plan/paths.ts'
import type { Answer } from './output.ts'

/** onehop status: what the journal says of each service, and the paths by which it is advertised. Needs no engine and no cluster. */
export async function status({ mesh: file }: { mesh: string }): Promise<Answer> {
  const mesh = await loadMesh(file)
  const entries = await createJournal(mesh.state).list()
  const services = mesh.services.filter(isClusterService).map((service) => {
    const entry = entries.find((each) => each.service === service.name)
    const moved = entry?.state === 'moved'
    const paths = pathsOf(mesh, service).map(({ device, ...old }) => ({ ...old, ...(moved && { device }) }))
    return {
      name: service.name,
      state: entry?.state ?? 'planned',
      attempt: entry?.attempt ?? 0,
      paths,
      failure: entry?.failure ?? null,
    }
  })
  const worker = await fetch(`http://${mesh.worker.listen}/`, { signal: AbortSignal.timeout(2000) }).then(
    (answer) => answer.ok,
    () => false,
  )
  const table = new Table({
    head: ['service', 'state', 'answers on'],
    style: { head: [], border: [], compact: true },
  })
  for (const { name, state, paths } of services)
    table.push([
      name,
      state,
      paths.map((each) => [each.device, each.oldUrl, each.portMap].filter(Boolean).join('  ')).join('\n'),
    ])
  const lines = [
    table.toString(),
    `worker ${mesh.worker.listen}: ${worker ? 'running' : 'not running'}; engine ${mesh.engine.url}`,
  ]
  return {
    result: { services, worker: { listen: mesh.worker.listen, running: worker }, engine: mesh.engine.url },
    text: lines.join('\n'),
  }
}
