import { toOnehopError } from '../errors.ts'
import { bookRows, writeBlock } from './books.ts'
import type { DriftFacts, Finding } from './drift.ts'

/** Whether our block of the user's own list of services is as onehop would write it. */
export function booksDrift({ mesh, snapshot, books }: DriftFacts): Finding[] {
  const file = mesh.books
  if (file === undefined || books === undefined) return []
  const subject = 'books'
  try {
    if (writeBlock(books, bookRows(mesh, snapshot.journal), file) === books) return []
    return [{ kind: 'books-edited', subject, what: `the block of onehop in ${file} is not what it wrote` }]
  } catch (thrown) {
    const { message, fix } = toOnehopError(thrown)
    return [{ kind: 'books-edited', subject, what: message, mend: null, cure: fix }]
  }
}
