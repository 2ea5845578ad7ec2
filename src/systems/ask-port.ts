import type { Spoken } from '../plan/scan-inventory.ts'
import { callHttp } from './http-call.ts'
import { createProbes } from './probes.ts'

/**
 * What a port of this machine speaks: Redis, if it answers PING; HTTP, if it answers GET /health or GET / below 400; else TCP,
 * if it accepts. Redis is asked first: it takes an HTTP request for an attack, and says so in its log.
 */
export async function askPort(port: number): Promise<Spoken> {
  const probes = createProbes()
  const target = { host: 'localhost', port }
  const redis = await probes.redis(target)
  if (redis.ok) return { kind: 'redis' }
  if (redis.refused) return { kind: 'silent' }
  const answers = await Promise.all(
    ['/health', '/'].map(async (path) => ({ path, head: await get(port, path) })),
  )
  const inngest = answers.some(({ head }) => head?.inngest)
  const good = answers.find(({ head }) => head && head.status < 400)
  if (good) return { kind: 'http', path: good.path, inngest }
  return (await probes.tcp(target)).ok ? { kind: 'tcp', inngest } : { kind: 'silent' }
}

/** An Inngest server names itself in a header of every answer of its API. */
const get = (port: number, path: string): Promise<{ status: number; inngest: boolean } | undefined> =>
  callHttp(`http://localhost:${port}${path}`, { deadline: 2000, headOnly: true }).then(
    ({ status, headers }) => ({ status, inngest: headers['x-inngest-server-kind'] !== undefined }),
    () => undefined,
  )
