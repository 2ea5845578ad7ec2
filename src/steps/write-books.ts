import { bookRows, writeBlock } from '../plan/books.ts'
import type { Setup } from '../setup.ts'
import { type Step, tried } from './step.ts'

/** Brings our block of the user's own list of services up to date, if mesh.yaml names such a file. It is no reason for anything to fail. */
export async function writeBooks(step: Step, setup: Setup): Promise<void> {
  await tried(
    step,
    'books',
    async () => {
      const { mesh, systems, journal } = await setup.work()
      const { books } = mesh
      if (books === undefined) return
      await journal.exclusively('books', async () => {
        const rows = bookRows(mesh, await journal.list())
        await systems.books.edit(books, (text, isThere) => writeBlock(text, rows, books, isThere))
      })
    },
    { always: true },
  )
}
