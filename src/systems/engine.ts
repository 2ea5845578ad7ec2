import { messageOf, OnehopError } from '../errors.ts'
import { callHttp, type HttpAnswer, type HttpCall } from './http-call.ts'

/** The Inngest server, as far as it can be asked without a key. @throws OnehopError engine-unreachable */
export function createEngine({ url }: { url: string }) {
  async function ask(path: string, asked: HttpCall = {}): Promise<HttpAnswer> {
    const answer = await callHttp(`${url}${path}`, asked).catch((thrown: unknown) => {
      throw new OnehopError('engine-unreachable', { url, message: messageOf(thrown) }, { cause: thrown })
    })
    if (!answer.ok) throw new OnehopError('engine-unreachable', { url, message: `${path}: ${answer.status}` })
    return answer
  }

  return {
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

/** `connected`: a worker has dialled in. `url`: where it calls one that listens. */
export type EngineApp = { name: string; url: string | null; connected: boolean; error: string | null }
