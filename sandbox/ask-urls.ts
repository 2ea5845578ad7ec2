import { createProbes } from '../src/systems/probes.ts'

// Runs on a client machine of the sandbox: asks each URL of the command line and prints what it saw as JSON.
const probes = createProbes()
const seen = await Promise.all(
  process.argv.slice(2).map(async (url) => {
    const { protocol, hostname: host, port, pathname } = new URL(url)
    const target = { host, port: Number(port) }
    const answer =
      protocol === 'https:'
        ? await ask(url)
        : protocol === 'redis:'
          ? await probes.redis(target)
          : protocol === 'tcp:'
            ? await probes.tcp(target)
            : await probes.http(target, pathname)
    return { url, ok: answer.ok, ms: answer.ms, message: answer.ok ? '' : answer.message }
  }),
)
console.log(JSON.stringify(seen))

async function ask(
  url: string,
): Promise<{ ok: true; ms: number } | { ok: false; ms: number; message: string }> {
  const start = performance.now()
  try {
    const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(5000) })
    const ms = Math.round(performance.now() - start)
    return ok ? { ok, ms } : { ok: false, ms, message: `HTTP ${status}` }
  } catch (thrown) {
    return {
      ok: false,
      ms: Math.round(performance.now() - start),
      message: String((thrown as Error).cause ?? thrown),
    }
  }
}
