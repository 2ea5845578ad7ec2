import { connect, createServer } from 'node:net'

// An abstract socket, because the kernel takes it back however its holder ends: it can never be stale.
const socketName = (name: string) => `\0onehop-${name}`

/** Takes a lock of this machine, such as `sandbox`. Throws with the holder's process id if somebody has it. */
export async function holdLock(name: string): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.end(String(process.pid)))
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      reject(new Error(`a ${name} is already running on this machine: process ${await holder(name)}`))
    })
    server.listen(socketName(name))
  })
  server.unref()
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) }
}

const holder = (name: string) =>
  new Promise<string>((resolve) => {
    let pid = ''
    const socket = connect(socketName(name))
    socket.on('data', (data) => {
      pid += data
    })
    socket.on('close', () => resolve(pid || 'unknown'))
    socket.on('error', () => resolve(pid || 'unknown'))
  })
