import { isDeepStrictEqual } from 'node:util'
import { messageOf, OnehopError } from '../errors.ts'
import { diffAdapted } from '../plan/caddyfile.ts'
import { callHttp } from './http-call.ts'

/**
 * Caddy's admin API, as far as it is needed: what runs, and a new config as a whole. `file` is where a new config comes from;
 * `call` is handed in where an answer is to be lost.
 */
export function createCaddyAdmin({ admin, file, call = callByHttp }: Options) {
  /** What Caddy runs now, as its own JSON. A change of the config restarts the admin listener, so a reset is asked again. */
  async function running(): Promise<unknown> {
    const get = () => call(admin, 'GET', '/config/')
    const { status, body } = await get()
      .catch((thrown: NodeJS.ErrnoException) =>
        thrown.code === 'ECONNRESET' ? get() : Promise.reject(thrown),
      )
      .catch((thrown: unknown) => {
        throw new OnehopError('caddy-unreachable', { admin, message: messageOf(thrown) }, { cause: thrown })
      })
    if (status !== 200)
      throw new OnehopError('caddy-unreachable', { admin, message: `${status} ${body.trim()}` })
    return JSON.parse(body)
  }

  /**
   * Makes Caddy run `config`, which is that of its Caddyfile `name`. Equal to what runs already, it reloads nothing.
   *
   * @throws OnehopError caddy-did-not-take, with Caddy's own reason; what ran before runs on
   */
  async function load(config: unknown, name = file): Promise<void> {
    const post = () => call(admin, 'POST', '/load', JSON.stringify(config), sourceHeaders(name))
    const { status, body } = await post()
      // The answer can be lost although the config was taken: look before trying again.
      .catch(async (thrown: unknown) =>
        isDeepStrictEqual(await running(), config) ? { status: 200, body: messageOf(thrown) } : post(),
      )
      .catch((thrown: unknown) => {
        throw new OnehopError('caddy-did-not-take', { file, message: messageOf(thrown) }, { cause: thrown })
      })
    if (status !== 200) throw new OnehopError('caddy-did-not-take', { file, message: reasonIn(body) })
    const [difference] = diffAdapted(config, await running())
    if (difference)
      throw new OnehopError('caddy-did-not-take', { file, message: `it runs another ${difference.path}` })
  }

  /** Caddy's own metrics, as Prometheus text: process-wide, and there whether or not it counts requests. */
  async function metrics(): Promise<string> {
    const { status, body } = await call(admin, 'GET', '/metrics').catch((thrown: unknown) => {
      throw new OnehopError('caddy-unreachable', { admin, message: messageOf(thrown) }, { cause: thrown })
    })
    if (status !== 200)
      throw new OnehopError('caddy-unreachable', { admin, message: `/metrics: ${status} ${body.trim()}` })
    return body
  }

  return { running, load, metrics }
}

type Options = { admin: string; file: string; call?: typeof callByHttp }

/**
 * What `caddy reload` sends with a config: without it Caddy forgets which file it has read, and SIGUSR1 reloads nothing any
 * more. A header is bytes, and a name that cannot be one is left out.
 */
function sourceHeaders(name: string): Record<string, string> {
  const bytes = Buffer.from(name).toString('latin1')
  if (/[^\t\x20-\x7e\x80-\xff]/.test(bytes)) return {}
  return { 'caddy-config-source-file': bytes, 'caddy-config-source-adapter': 'caddyfile' }
}

/** Caddy's last log line in words: errors come as a JSON log line, as JSON of the admin API, or as plain text. */
export function reasonIn(output: string): string {
  const last = output.trim().split('\n').at(-1) ?? ''
  try {
    const { msg, error }: { msg?: string; error?: string } = JSON.parse(last)
    return error ?? msg ?? last
  } catch {
    return last
  }
}

/** Not a pooled socket: each change of the config resets them. A reload waits for whatever the new config has to set up. */
const callByHttp = (
  admin: string,
  method: string,
  path: string,
  body?: string,
  source: Record<string, string> = {},
): Promise<Answer> =>
  callHttp(new URL(path, admin), {
    method,
    ...(body !== undefined && {
      body,
      // Caddy answers once the servers that a new config replaces have come to their end.
      deadline: 30_000,
      headers: {
        ...source,
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
      },
    }),
  }).then(({ status, text }) => ({ status, body: text }))

type Answer = { status: number; body: string }
