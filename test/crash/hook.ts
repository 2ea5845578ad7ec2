// Given to the worker's process by `node --import`: stops it before or after one effect, for as long as a test wants,
// so that the test can kill this process, or what it was about to talk to, at exactly that point. The product has no hook:
// the built-ins through which src makes its effects are patched before src is loaded.
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { syncBuiltinESMExports } from 'node:module'
import { nameFile, nameRequest } from './name-point.ts'
import type { Order } from './order.ts'

const orders = process.env.ONEHOP_CRASH_ORDER
if (orders) patchEffects(orders)

function patchEffects(orderFile: string) {
  const effect = async <T>(
    name: string | undefined,
    work: () => Promise<T>,
    landed: (made: T) => boolean,
  ) => {
    if (name === undefined) return work()
    await pass(orderFile, { point: name, when: 'before', landed: false })
    const made = await work()
    await pass(orderFile, { point: name, when: 'after', landed: landed(made) })
    return made
  }

  // Everything of node:fs/promises that changes something and is given a path; a handle only ever writes a draft.
  const changing = ['rename', 'writeFile', 'appendFile', 'rm', 'unlink', 'rmdir', 'copyFile', 'cp', 'symlink', 'link', 'truncate', 'chmod', 'chown'] as const // biome-ignore format: a list
  for (const call of changing) {
    const real = fs[call] as (...args: unknown[]) => Promise<unknown>
    const patched = (...args: unknown[]) => {
      const [first, second] = args.map(String)
      const name = nameFile(call, call === 'rename' ? { draft: first, path: second } : { path: first })
      return effect(
        name,
        () => real(...args),
        () => true,
      )
    }
    Object.assign(fs, { [call]: patched })
  }

  type Fetch = (input: unknown, init?: { method?: string; body?: unknown }) => Promise<Response>
  const patchFetch =
    (real: Fetch): Fetch =>
    (input, init) => {
      const url = new URL(input instanceof Request ? input.url : String(input))
      const { method = 'GET', body } = input instanceof Request ? input : (init ?? {})
      return effect(
        nameRequest({ method, url, body: typeof body === 'string' ? body : '' }),
        () => real(input, init),
        (answer) => answer.ok,
      )
    }
  Object.assign(globalThis, { fetch: patchFetch(globalThis.fetch as Fetch) })

  // A request is there at once and sent by `end`; the answer counts when the caller hears of it.
  type Send = (...args: unknown[]) => http.ClientRequest
  const patchRequest =
    (real: Send): Send =>
    (...args) => {
      const [url, { method = 'GET' } = {}] = args as [unknown, http.RequestOptions?]
      const sent = real(...args)
      if (!(url instanceof URL)) return sent
      const [end, emit] = [sent.end.bind(sent) as Send, sent.emit.bind(sent)]
      sent.end = (...given: unknown[]) => {
        const [body] = given
        const name = nameRequest({ method, url, body: typeof body === 'string' ? body : '' })
        if (name === undefined) return end(...given)
        sent.emit = (event: string, ...more: unknown[]) => {
          if (event !== 'response') return emit(event, ...more)
          const landed = ((more[0] as http.IncomingMessage).statusCode ?? 500) < 400
          pass(orderFile, { point: name, when: 'after', landed }).then(() => emit(event, ...more))
          return true
        }
        // What it talks to may have been killed meanwhile: the request has failed by itself then.
        pass(orderFile, { point: name, when: 'before', landed: false }).then(
          () => !sent.destroyed && end(...given),
        )
        return sent
      }
      return sent
    }
  for (const each of [http, https]) Object.assign(each, { request: patchRequest(each.request as Send) })
  syncBuiltinESMExports()
}

/** Goes on at once, unless the order names this point; then says so in the marker and waits to be killed or released. */
async function pass(orderFile: string, at: { point: string; when: 'before' | 'after'; landed: boolean }) {
  const order = readOrder(orderFile)
  if (!order) return
  if (order.mode === 'record') {
    if (at.when === 'before') appendFileSync(order.to, `${at.point}\n`)
    return
  }
  if (order.point !== at.point || order.when !== at.when || existsSync(order.marker)) return
  writeFileSync(`${order.marker}.new`, JSON.stringify({ ...at, pid: process.pid }))
  renameSync(`${order.marker}.new`, order.marker)
  while (!existsSync(order.release)) await new Promise((resolve) => setTimeout(resolve, 10))
}

function readOrder(file: string): Order | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Order
  } catch {
    return undefined // none is given now
  }
}
