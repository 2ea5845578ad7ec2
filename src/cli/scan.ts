import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { messageOf, OnehopError } from '../errors.ts'
import { parseMesh } from '../plan/mesh.ts'
import { scanMesh } from '../plan/scan.ts'
import { questionsOf } from '../plan/scan-comments.ts'
import { renderMesh } from '../plan/scan-yaml.ts'
import { askPorts, readInventory } from '../systems/read-inventory.ts'
import type { Answer } from './output.ts'

/** onehop scan [--out FILE]: a first mesh.yaml from what is there. Needs none, and changes nothing but that file. */
export async function scan({
  out,
  force = false,
  json,
  namespace = [],
  ...asked
}: ScanFlags): Promise<Answer> {
  if (out !== undefined && !force && existsSync(out)) throw new OnehopError('scan-file-exists', { file: out })
  const { inventory, answers } = await askPorts(await readInventory({ ...asked, namespaces: namespace }))
  const found = scanMesh(inventory, answers)
  const yaml = renderMesh(inventory, found)
  const { services, hosts, engine } = found
  const questions = questionsOf(yaml)
  const result = {
    services,
    hosts,
    engine: engine.service ?? null,
    questions,
    unread: inventory.unread,
    yaml,
  }
  if (services.length === 0) {
    const where = namespace.length === 0 ? 'no namespace' : `namespace ${namespace.join(', ')}`
    const failure = new OnehopError('scan-nothing-found', {
      where,
      context: inventory.cluster.context,
    }).toJSON()
    return { result, text: out === undefined ? yaml.trimEnd() : '', failure }
  }
  refuseUnreadable(yaml)
  if (out !== undefined) await write(out, yaml, force)
  const ports = services.reduce((sum, each) => sum + each.ports.length, 0) + hosts.length
  const routes = services.reduce((sum, each) => sum + Object.keys(each.routes).length, 0)
  const summary = `services: ${services.length}, processes of this machine: ${hosts.length}, ports: ${ports}, routes: ${routes}, questions (# ?): ${questions.length}`
  const next = [`onehop plan${out === undefined || out === 'mesh.yaml' ? '' : ` --mesh ${out}`}`]
  if (json) return { result: { ...result, summary, file: out ?? null }, text: '', next }
  for (const { what, why } of inventory.unread) process.stderr.write(`! ${what} was not read: ${why}\n`)
  if (out !== undefined) return { result, text: `${out}: ${summary}`, next }
  // On stdout is the file and nothing else.
  process.stderr.write(`${summary}\n`)
  return { result, text: yaml.trimEnd() }
}

export type ScanFlags = {
  out?: string
  force?: boolean
  json?: boolean
  namespace?: string[]
  context?: string
  kubeconfig?: string
  caddyfile?: string
  caddyAdmin?: string
  tailnet?: string
}

/** A file that no other command takes would be worse than none. */
function refuseUnreadable(yaml: string): void {
  try {
    parseMesh(yaml, 'the file')
  } catch (thrown) {
    const message = `scan made a mesh.yaml that cannot be read: ${messageOf(thrown)}`
    throw new OnehopError('internal', { message }, { cause: thrown })
  }
}

/** Without `force` the file is made, never replaced, also if somebody made it meanwhile. */
async function write(file: string, text: string, force: boolean): Promise<void> {
  await writeFile(file, text, { flag: force ? 'w' : 'wx' }).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'EEXIST') throw new OnehopError('scan-file-exists', { file }, { cause: thrown })
    throw new OnehopError(
      'flag-invalid',
      { message: `--out ${file}: ${messageOf(thrown)}`, command: 'scan' },
      { cause: thrown },
    )
  })
}
