import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { messageOf } from '../src/errors.ts'
import { firstStart, refusal, whyUnfit } from './requirements.ts'

// `npm run demo:real [-- --once] [--json] [--yes] [--clean]`: the main job on the real servers.
// --once ends it afterwards, --json closes with one envelope on stdout, --yes asks nothing, --clean removes the cache.
const flag = { type: 'boolean', default: false } as const

try {
  const { values } = parseArgs({ options: { once: flag, json: flag, yes: flag, clean: flag } })
  if (values.clean) {
    const { cacheFolder } = await import('./cache.ts')
    await (await sandbox()).cleanCache()
    console.error(`removed ${cacheFolder}`)
  } else {
    console.error(`The whole move on the real servers, in namespaces of this machine. It needs root on Linux; nothing is installed.
The first time it builds the servers: ${firstStart}. After that it takes about 100 s.
What this shows and \`npm run demo\` cannot: that the real Kubernetes, Tailscale operator, Headscale, Inngest and Caddy
behave as the simulated ones do. Names, tunnels, proxy pods, reloads and refusals are the servers' own.`)
    const { prepareSandbox, runInside } = await sandbox()
    await prepareSandbox({ ask: !values.yes })
    const args = [...(values.once ? ['--once'] : []), ...(values.json ? ['--json'] : [])]
    process.exitCode = await runInside(fileURLToPath(new URL('./demo-story.ts', import.meta.url)), args)
  }
} catch (thrown) {
  // Mostly: another sandbox is running. Its process id is what a person needs, not our stack.
  console.error(`The demo did not run. ${messageOf(thrown)}`)
  process.exitCode = 2
}

/** Loaded only where it can run: it needs Node 24, which macOS may not have. */
async function sandbox() {
  const unfit = whyUnfit()
  if (unfit) throw refusal(unfit)
  return { ...(await import('./prepare.ts')), ...(await import('./enter.ts')) }
}
