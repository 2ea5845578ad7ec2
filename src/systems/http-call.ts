import { type IncomingMessage, request } from 'node:http'
import { type RequestOptions, request as secureRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { NoAnswer } from '../in-time.ts'
import { lookUp } from './resolver.ts'

/** How long a call may take, from the look-up of the name to the last byte of the answer. */
export const callDeadline = 10_000

/**
 * The one way in which onehop calls anything by HTTP: one connection for one answer, read to its end, within one deadline. When
 * that has passed, the socket is destroyed, whatever state it is in: connecting, in its TLS handshake, without headers, or in a
 * body that goes on for ever. Redirects are answers and are not followed.
 *
 * Not `fetch`: it cannot be given a look-up that ends, and its `Sec-Fetch-Mode` without an Origin makes Caddy answer 403.
 *
 * @throws NoAnswer after `deadline`; an Error with the system's code for a connection that failed
 */
export function callHttp(url: string | URL, asked: HttpCall = {}): Promise<HttpAnswer> {
  const { method = 'GET', headers = {}, body, deadline = callDeadline, silence = deadline, tls } = asked
  const target = new URL(url)
  const options: RequestOptions = {
    method,
    // By itself Node declares none for a DELETE, and the server does not read the body: a delete without its preconditions.
    headers: { ...headers, ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }) },
    lookup: lookUp,
    agent: false,
    timeout: silence,
    ...tls,
  }
  return new Promise((resolve, reject) => {
    const call = (target.protocol === 'https:' ? secureRequest : request)(target, options)
    const fail = (thrown: Error) => {
      clearTimeout(timer)
      reject(thrown)
      call.destroy(thrown)
    }
    const timer = setTimeout(() => fail(new NoAnswer(deadline)), deadline)
    call.on('timeout', () => fail(new NoAnswer(silence)))
    call.on('error', fail)
    call.on('response', (response) => {
      // What breaks off once the answer is there is of no interest.
      response.on('error', () => undefined)
      readBody(response, asked).then((bytes) => {
        clearTimeout(timer)
        resolve(answerOf(response, bytes))
        call.destroy()
      }, fail)
    })
    call.end(body)
  })
}

export type HttpCall = {
  method?: string
  headers?: Record<string, string>
  body?: string | Uint8Array
  /** Milliseconds for the whole call; 10 s if not said. */
  deadline?: number
  /** Milliseconds for which nothing may come; as long as the deadline if not said. */
  silence?: number
  /** Whether the answer is complete with its headers. */
  headOnly?: boolean
  /** How many bytes of the body are kept; it is read to its end all the same. Without it, a body that is too large is an error. */
  most?: number
  /** How TLS is spoken, and the agent of a proxy. */
  tls?: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername' | 'agent'>
}

export type HttpAnswer = {
  status: number
  /** Whether the status is a 2xx. */
  ok: boolean
  headers: Record<string, string>
  text: string
}

/** No answer of any system that onehop asks comes near to this; a body without an end would take all memory within a deadline. */
const mostBytes = 64 * 1024 * 1024

async function readBody(
  response: IncomingMessage,
  { headOnly, most }: Pick<HttpCall, 'headOnly' | 'most'>,
): Promise<Buffer> {
  if (headOnly) return Buffer.alloc(0)
  const body: Readable =
    response.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    for (const stream of new Set<Readable>([response, body])) stream.on('error', reject)
    body.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (most === undefined && size > mostBytes)
        return reject(new NoAnswer(callDeadline, `its answer has no end (${mostBytes} bytes were read)`))
      if (most === undefined || size - chunk.length < most) chunks.push(chunk)
    })
    body.on('end', () => resolve(Buffer.concat(chunks).subarray(0, most)))
    response.on('close', () => {
      if (!response.complete) reject(new Error('the connection was closed before the end of the answer'))
    })
  })
}

function answerOf(response: IncomingMessage, bytes: Buffer): HttpAnswer {
  const status = response.statusCode ?? 0
  return {
    status,
    ok: status >= 200 && status < 300,
    headers: Object.fromEntries(
      Object.entries(response.headers).map(([name, value]) => [name, [value].flat().join(', ')]),
    ),
    // A byte order mark stays: of a policy, every byte counts.
    text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes),
  }
}
