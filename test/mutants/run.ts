import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { execa } from 'execa'
import { type Mutant, mutants } from './mutants.ts'

// `npm run mutants [PART OF A REASON]`: breaks a copy of the tree in one place at a time, and the test named for it must
// turn red. The tree itself is never touched. Exit code 1 if one survives, or if its line is no longer there.
const root = fileURLToPath(new URL('../..', import.meta.url))
const [only = ''] = process.argv.slice(2)
const table = new Table({
  head: ['mutant', 'caught by', 's', ''],
  style: { head: [], border: [] },
  colWidths: [70],
  wordWrap: true,
})
let survivors = 0

for (const mutant of mutants.filter((each) => each.why.includes(only))) {
  const started = performance.now()
  const { red, said } = await tryMutant(mutant)
  if (!red) survivors++
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  table.push([mutant.why, mutant.caughtBy, seconds, red ? 'red' : 'SURVIVED'])
  console.error(`${red ? 'red     ' : 'SURVIVED'} ${seconds} s  ${mutant.why}\n         ${said}`)
}
console.log(table.toString())
console.log(`${survivors} survived`)
process.exitCode = survivors > 0 ? 1 : 0

async function tryMutant({ file, find, replace, caughtBy }: Mutant): Promise<{ red: boolean; said: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-mutant-'))
  try {
    for (const part of [
      'src',
      'test',
      'inngest.config.ts',
      'package.json',
      'tsconfig.json',
      'vitest.config.ts',
    ])
      cpSync(join(root, part), join(folder, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    const text = readFileSync(join(folder, file), 'utf8')
    if (text.split(find).length !== 2)
      return { red: false, said: `${file} does not hold exactly once: ${find}` }
    writeFileSync(
      join(folder, file),
      text.replace(find, () => replace),
    )
    const args =
      caughtBy === 'sim'
        ? ['test/sim/sim.ts', '--seeds', '2000', '--seed', '1', '--bail']
        : ['node_modules/vitest/vitest.mjs', 'run', '--root', folder, caughtBy]
    const { exitCode, stderr, stdout, timedOut } = await execa(process.execPath, args, {
      cwd: folder,
      reject: false,
      timeout: 180_000,
    })
    // A copy that cannot even be loaded proves nothing.
    const broken = /SyntaxError|ERR_MODULE_NOT_FOUND/.test(stderr)
    const said = (caughtBy === 'sim' ? stderr : (/FAIL .*/.exec(stdout + stderr)?.[0] ?? stdout))
      .trim()
      .split('\n')[0]
    if (timedOut) return { red: false, said: 'it did not end' }
    return { red: exitCode !== 0 && !broken, said: (said ?? '').slice(0, 220) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
