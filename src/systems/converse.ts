import { connect } from 'node:net'
import { NoAnswer } from '../in-time.ts'
import { lookUp } from './resolver.ts'

/**
 * The one way in which onehop speaks over a bare socket: connects, says `words` if any, and gives back the first answer. After
 * `deadline` milliseconds the socket is destroyed.
 *
 * @throws NoAnswer after `deadline`; an Error with the system's code for a connection that failed
 */
export function converse(
  { host, port }: { host: string; port: number },
  { words, deadline }: { words?: string; deadline: number },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, lookup: lookUp })
    let heard = ''
    const end = (settle: () => void) => {
      clearTimeout(timer)
      socket.destroy()
      settle()
    }
    const timer = setTimeout(
      () => end(() => (heard ? resolve(heard) : reject(new NoAnswer(deadline)))),
      deadline,
    )
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('connect', () => (words === undefined ? end(() => resolve('')) : socket.write(words)))
    socket.on('data', (data) => {
      heard += data.toString('latin1')
      if (!/^\+PONG\r\n$/.test(heard)) end(() => resolve(heard))
    })
    socket.on('close', () =>
      end(() => (heard ? resolve(heard) : reject(new Error('closed without an answer')))),
    )
  })
}
