import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cacheFolder } from './cache.ts'
import { runInside } from './enter.ts'
import { cleanCache, prepareSandbox } from './prepare.ts'

// `npm run demo [-- --once] [--json] [--yes] [--clean]`: the main job on the real servers.
// --once ends it afterwards, --json closes with one envelope on stdout, --yes asks nothing, --clean removes the cache.
const flag = { type: 'boolean', default: false } as const
const { values } = parseArgs({ options: { once: flag, json: flag, yes: flag, clean: flag } })

try {
  if (values.clean) {
    await cleanCache()
    console.error(`removed ${cacheFolder}`)
  } else {
    await prepareSandbox({ ask: !values.yes })
    const args = [...(values.once ? ['--once'] : []), ...(values.json ? ['--json'] : [])]
    process.exitCode = await runInside(fileURLToPath(new URL('./demo-story.ts', import.meta.url)), args)
  }
} catch (thrown) {
  // Mostly: another sandbox is running. Its process id is what a person needs, not our stack.
  console.error(`The demo did not run: ${thrown instanceof Error ? thrown.message : thrown}`)
  process.exitCode = 2
}
