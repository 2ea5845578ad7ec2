import { statSync } from 'node:fs'

/**
 * Refuses what is no regular file: to open a FIFO that nobody writes to never ends, and keeps this process alive. What is not
 * there is left to whoever reads it.
 *
 * @throws Error, saying what it is
 */
export function expectFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found || found.isFile()) return
  const kind = found.isFIFO() ? 'a FIFO' : found.isDirectory() ? 'a folder' : 'a device or socket'
  throw new Error(`${path} is ${kind}, expected a regular file`)
}
