import { connect, createServer } from 'node:net'

// An abstract socket, because the kernel takes it back however its holder ends: it can never be stale.
const name = '\0onehop-sandbox'

/** Takes the one-sandbox-per-machine lock. Throws with the holder's process id if somebody has it. */
export async function holdLock(): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.end(String(process.pid)))
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      reject(new Error(`a sandbox is already running on this machine: process ${await holder()}`))
    })
    server.listen(name)
  })
  server.unref()
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) }
}

const holder = () =>
  new Promise<string>((resolve) => {
    let pid = ''
    const socket = connect(name)
    socket.on('data', (data) => {
      pid += data
    })
    socket.on('close', () => resolve(pid || 'unknown'))
    socket.on('error', () => resolve(pid || 'unknown'))
  })
