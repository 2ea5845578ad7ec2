import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createWebhook } from '../../../src/systems/webhook.ts'

async function receiver(status: number) {
  const got: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (data) => {
      body += data
    })
    request.on('end', () => {
      got.push(`${request.headers['content-type']} ${body}`)
      response.writeHead(status, status === 302 ? { location: 'http://localhost:1/' } : {}).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks/s3cret` }
}
const body = { detected: [], resolved: [] }

test('the news are posted as JSON', async () => {
  const { got, url } = await receiver(204)
  await createWebhook().post({ file: '/hook', url, body })
  expect(got).toEqual([`application/json ${JSON.stringify(body)}`])
})

test.each([500, 302])('status %i is refused, and the URL stands in no message', async (status) => {
  const { url } = await receiver(status)
  const refused = await createWebhook()
    .post({ file: '/hook', url, body })
    .catch((thrown: unknown) => thrown)
  expect(refused).toMatchObject({ code: 'webhook-refused', message: expect.stringContaining('/hook') })
  expect(String(refused)).not.toContain('s3cret')
})

test.each(['http://127.0.0.1:1/s3cret', 'no url: s3cret'])(
  '%s is refused without being shown',
  async (url) => {
    const refused = await createWebhook()
      .post({ file: '/hook', url, body })
      .catch((thrown: unknown) => thrown)
    expect(refused).toMatchObject({ code: 'webhook-refused' })
    expect(String(refused)).not.toContain('s3cret')
  },
)
