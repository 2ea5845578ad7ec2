import { messageOf, OnehopError } from '../errors.ts'

/** A webhook of the user's. Its URL stands in no message: whoever has it may post there. */
export const createWebhook = () => ({
  /** @throws OnehopError webhook-refused, of kind system: it is tried again */
  async post({ file, url, body }: { file: string; url: string; body: unknown }): Promise<void> {
    const refused = (message: string, cause?: unknown) =>
      new OnehopError('webhook-refused', { file, message }, { cause })
    if (!/^https?:\/\/\S+$/.test(url)) throw refused('the file holds no http(s) URL')
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.timeout(10_000),
    }).catch((thrown: unknown) => {
      throw refused(messageOf(thrown).replaceAll(url, '(its URL)'))
    })
    if (!answer.ok) throw refused(`status ${answer.status}`)
  },
})
