import { createTwoFilesPatch } from 'diff'
import { readInTime } from '../disk.ts'
import { messageOf, OnehopError } from '../errors.ts'
import { selectServices } from '../plan/mesh.ts'
import { addAccess, type Untested } from '../plan/policy.ts'
import { type Source, wantedAccess } from '../plan/policy-access.ts'
import { entriesIn, type Piece, parsePolicy } from '../plan/policy-text.ts'
import { wideOpen } from '../plan/policy-wide-open.ts'
import { createSetup } from '../setup.ts'
import type { Answer } from './output.ts'

/** onehop policy preview --file policy.hujson: what onehop would write for all services of mesh.yaml, as a diff. Changes nothing, asks nobody. */
export async function policyPreview({ file, mesh: meshFile }: Flags): Promise<Answer> {
  const mesh = await createSetup(meshFile).mesh()
  const before = await readInTime(file)
    .then(String)
    .catch((thrown: unknown) => {
      throw new OnehopError(
        'flag-invalid',
        { message: `--file ${file}: ${messageOf(thrown)}`, command: 'policy preview' },
        { cause: thrown },
      )
    })
  const hosts = entriesIn(parsePolicy(before), ['hosts']).map(({ key }) => key)
  const unknown = new Set<string>()
  // The devices are not asked, so only the file knows addresses.
  const placed = (source: Source): Source => {
    if (!source.machine || hosts.includes(source.name)) return source
    unknown.add(source.name)
    return { ...source, addresses: [placeholder] }
  }
  const added: Array<{ service: string; added: Piece[] }> = []
  const untested: Untested[] = []
  let after = before
  for (const service of selectServices(mesh)) {
    const access = wantedAccess(mesh, service, [])
    if (!access) continue
    const sources = access.sources.map(placed)
    const edit = addAccess(after, { ...access, sources, neighbours: access.neighbours.map(placed) })
    after = edit.text
    added.push({ service: service.name, added: edit.added })
    untested.push(...edit.untested)
  }
  const wide = wideOpen(before)
  const notes = [
    ...wide.map(
      ({ line, rule }) =>
        `line ${line} lets everything reach everything, so these rules narrow nothing yet: ${rule}`,
    ),
    ...[...unknown].map(
      (name) =>
        `${name} is not in hosts of this file: onehop takes its address (here ${placeholder}) from the tailnet, or names it by its tag`,
    ),
    ...untested.map(
      ({ src, target, rule }) =>
        `no test that ${src} is denied ${target}, for this rule may let it through: ${rule}`,
    ),
  ]
  const diff = createTwoFilesPatch(file, file, before, after, 'as it is', 'as it would be')
  const verdict = after === before ? ['The policy has all that is needed.'] : [after, diff]
  const text = [...verdict, ...notes.map((note) => `! ${note}`), 'Nothing was changed.'].join('\n')
  return { result: { before, after, added, wideOpen: wide, notes }, text }
}

const placeholder = '100.x.y.z'

type Flags = { file: string; mesh: string }
