import { messageOf, OnehopError } from '../errors.ts'
import { readCredential } from './credentials.ts'
import { callHttp, type HttpAnswer, type HttpCall } from './http-call.ts'

/** The Inngest server. Only `send` needs a key. @throws OnehopError engine-unreachable */
export function createEngine({ url, eventKeyFile }: { url: string; eventKeyFile?: string | undefined }) {
  const call = (path: string, asked: HttpCall = {}): Promise<HttpAnswer> =>
    callHttp(`${url}${path}`, asked).catch((thrown: unknown) => {
      throw new OnehopError('engine-unreachable', { url, message: messageOf(thrown) }, { cause: thrown })
    })

  async function ask(path: string, asked: HttpCall = {}): Promise<HttpAnswer> {
    const answer = await call(path, asked)
    if (!answer.ok) throw new OnehopError('engine-unreachable', { url, message: `${path}: ${answer.status}` })
    return answer
  }

  return {
    /** Gives it an event. @throws OnehopError engine-unreachable, engine-refused; credentials-missing */
    async send(event: Sent): Promise<void> {
      const key = eventKeyFile ? await readCredential(eventKeyFile) : (process.env.INNGEST_EVENT_KEY ?? '')
      const answer = await call(`/e/${encodeURIComponent(key)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(event),
        // The worker is waited for after that, and there has to be an answer within half a minute.
        deadline: 8000,
      })
      if (answer.ok) return
      const message = answer.text.slice(0, 200)
      throw new OnehopError('engine-refused', { url, status: answer.status, message })
    },
    async health(): Promise<void> {
      await ask('/health')
    },
    /** The apps that it has, by name. */
    async apps(): Promise<EngineApp[]> {
      const answer = await ask('/v0/gql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: '{ apps { name url connected error } }' }),
      })
      const { data } = JSON.parse(answer.text) as { data?: { apps?: EngineApp[] } | null }
      return data?.apps ?? []
    },
  }
}

/** An event on its way to the engine. An event with a known `id` is taken once. */
export type Sent = { id?: string; name: string; data: Record<string, unknown> }

export type Engine = ReturnType<typeof createEngine>

/** `connected`: a worker has dialled in. `url`: where it calls one that listens. */
export type EngineApp = { name: string; url: string | null; connected: boolean; error: string | null }
