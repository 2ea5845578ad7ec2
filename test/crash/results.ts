import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder } from '../../sandbox/cache.ts'
import { type Case, nameOf } from './cases.ts'
import type { Row } from './run-case.ts'

/** The rows so far, one JSON line each; those of other product code do not count. A sweep that was cut short goes on from them. */
export function openResults(file = join(cacheFolder, 'crash', 'rows.jsonl')) {
  mkdirSync(dirname(file), { recursive: true })
  const code = hashOfProduct()
  const lines = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [])
  const parsed = (line: string) => JSON.parse(line) as Row & { code: string }
  return {
    // Read anew each time: the rows are added by another process.
    of: (wanted: Case): Row | undefined =>
      lines()
        .map(parsed)
        .findLast((row) => row.code === code && nameOf(row) === nameOf(wanted)),
    add: (row: Row) =>
      appendFileSync(file, `${JSON.stringify({ code, at: new Date().toISOString(), ...row })}\n`),
    forget(cases: Case[]) {
      const names = new Set(cases.map(nameOf))
      const kept = lines().filter((line) => !names.has(nameOf(parsed(line))))
      writeFileSync(file, kept.map((line) => `${line}\n`).join(''))
    },
  }
}

/** What the rows hold for: a commit that changes only docs or tests leaves them good. */
function hashOfProduct(): string {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const files = ['inngest.config.ts', 'package-lock.json', ...globSync('src/**/*.ts', { cwd: root })].sort()
  const hash = createHash('sha256')
  for (const each of files) hash.update(each).update(readFileSync(join(root, each)))
  return hash.digest('hex').slice(0, 12)
}
