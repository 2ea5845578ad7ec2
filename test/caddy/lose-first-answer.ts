import { once } from 'node:events'
import { createServer, request } from 'node:http'

/** An admin API in front of Caddy's that loses the answer to the first POST /load, and passes on all else. */
export async function loseFirstAnswer(admin: string) {
  let lost = false
  const server = createServer((incoming, outgoing) => {
    const lose = !lost && incoming.method === 'POST' && incoming.url === '/load'
    if (lose) lost = true
    const headers = { ...incoming.headers, host: new URL(admin).host }
    const passed = request(
      new URL(incoming.url ?? '/', admin),
      { method: incoming.method, headers, agent: false },
      (answer) => {
        if (lose) answer.on('end', () => incoming.socket.resetAndDestroy()).resume()
        else answer.pipe(outgoing.writeHead(answer.statusCode ?? 500, answer.headers))
      },
    )
    passed.on('error', () => incoming.socket.resetAndDestroy())
    incoming.pipe(passed)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    admin: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    [Symbol.dispose]: () => void server.close(),
  }
}
