import { basename, dirname, isAbsolute, join } from 'node:path'
import type { Disk } from '../disk.ts'
import { type CaddyVariable, onceByName, variablesIn } from '../plan/caddy-variables.ts'
import { importPatterns } from '../plan/caddyfile.ts'

/**
 * The variables of the environment that a Caddyfile and the files that it imports take values from. What cannot be read is
 * left out: Caddy itself says what is wrong with it.
 */
export async function readVariables(disk: Disk, file: string): Promise<CaddyVariable[]> {
  const read = new Set<string>()
  async function within(path: string): Promise<CaddyVariable[]> {
    if (read.has(path)) return []
    read.add(path)
    const content = (await disk.readFile(path).catch(() => '')).toString('utf8')
    const own = variablesIn(content).map((each) => ({ ...each, file: path, isSet: each.name in process.env }))
    const imported: CaddyVariable[] = []
    for (const pattern of importPatterns(content))
      for (const each of await matching(disk, isAbsolute(pattern) ? pattern : join(dirname(path), pattern)))
        imported.push(...(await within(each)))
    return [...own, ...imported]
  }
  return onceByName(await within(file))
}

/** The files that an import names, where `*` and `?` match a part of one name. */
async function matching(disk: Disk, pattern: string): Promise<string[]> {
  if (!/[*?]/.test(pattern)) return [pattern]
  const name = basename(pattern)
  const folders = await matching(disk, dirname(pattern))
  if (!/[*?]/.test(name)) return folders.map((folder) => join(folder, name))
  const literal = name.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  const wanted = new RegExp(`^${literal.replaceAll('*', '.*').replaceAll('?', '.')}$`)
  // As Caddy does: a pattern that begins with a wildcard leaves out what is hidden.
  const isMeant = (each: string) => wanted.test(each) && !(name.startsWith('*') && each.startsWith('.'))
  const found = folders.map(async (folder) =>
    (await disk.readdir(folder).catch(() => [])).filter(isMeant).map((each) => join(folder, each)),
  )
  return (await Promise.all(found)).flat().toSorted()
}
