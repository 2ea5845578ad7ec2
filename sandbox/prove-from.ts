import { fileURLToPath } from 'node:url'
import type { Host } from './hosts.ts'

export type Seen = { url: string; ok: boolean; ms: number; message: string }

/** Asks each URL (http, https, redis, tcp) from a host of the sandbox, as a client there would: its DNS, its tailnet, its certificates. */
export async function proveFrom(host: Host, urls: string[]): Promise<Seen[]> {
  const script = fileURLToPath(new URL('./ask-urls.ts', import.meta.url))
  const { stdout } = await host.run(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, ...urls],
    { timeout: 60_000 },
  )
  return JSON.parse(stdout) as Seen[]
}
