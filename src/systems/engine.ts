import { messageOf, OnehopError } from '../errors.ts'
import { readCredential } from './credentials.ts'

/** The Inngest server. Only `send` needs a key. @throws OnehopError engine-unreachable */
export function createEngine({ url, eventKeyFile }: { url: string; eventKeyFile?: string | undefined }) {
  async function ask(path: string, init: RequestInit = {}): Promise<Response> {
    const answer = await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(10_000) }).catch(
      (thrown: unknown) => {
        throw new OnehopError('engine-unreachable', { url, message: messageOf(thrown) }, { cause: thrown })
      },
    )
    if (!answer.ok) throw new OnehopError('engine-unreachable', { url, message: `${path}: ${answer.status}` })
    return answer
  }

  return {
    /** Gives it an event. @throws OnehopError engine-unreachable, engine-refused; credentials-missing */
    async send(event: Sent): Promise<void> {
      const key = eventKeyFile ? await readCredential(eventKeyFile) : (process.env.INNGEST_EVENT_KEY ?? '')
      const answer = await fetch(`${url}/e/${encodeURIComponent(key)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(event),
        signal: AbortSignal.timeout(10_000),
      }).catch((thrown: unknown) => {
        throw new OnehopError('engine-unreachable', { url, message: messageOf(thrown) }, { cause: thrown })
      })
      if (answer.ok) return
      const message = (await answer.text()).slice(0, 200)
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
      const { data } = (await answer.json()) as { data?: { apps?: EngineApp[] } | null }
      return data?.apps ?? []
    },
  }
}

/** An event on its way to the engine. An event with a known `id` is taken once. */
export type Sent = { id?: string; name: string; data: Record<string, unknown> }

export type Engine = ReturnType<typeof createEngine>

/** `connected`: a worker has dialled in. `url`: where it calls one that listens. */
export type EngineApp = { name: string; url: string | null; connected: boolean; error: string | null }
