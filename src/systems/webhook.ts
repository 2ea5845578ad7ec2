import { messageOf, OnehopError } from '../errors.ts'
import { callHttp } from './http-call.ts'

/** A webhook of the user's. Its URL stands in no message: whoever has it may post there. */
export const createWebhook = () => ({
  /** @throws OnehopError webhook-refused, of kind system: it is tried again */
  async post({ file, url, body }: { file: string; url: string; body: unknown }): Promise<void> {
    const refused = (message: string, cause?: unknown) =>
      new OnehopError('webhook-refused', { file, message }, { cause })
    if (!/^https?:\/\/\S+$/.test(url)) throw refused('the file holds no http(s) URL')
    // A redirect is refused like any other answer: it could lead anywhere.
    const answer = await callHttp(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }).catch((thrown: unknown) => {
      throw refused(messageOf(thrown).replaceAll(url, '(its URL)'))
    })
    if (!answer.ok) throw refused(`status ${answer.status}`)
  },
})
