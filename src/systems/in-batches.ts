/**
 * `work` for each, fifty at a time, in their order: macOS allows a process 256 open files, unless told otherwise. No batch
 * begins later than `milliseconds` from now: what comes after that is `late`.
 */
export async function inBatches<A, B>(
  all: A[],
  work: (each: A) => Promise<B>,
  { milliseconds, late }: { milliseconds: number; late: (each: A) => B },
): Promise<B[]> {
  const until = Date.now() + milliseconds
  const done: B[] = []
  for (let at = 0; at < all.length; at += 50) {
    const batch = all.slice(at, at + 50)
    done.push(...(Date.now() > until ? batch.map(late) : await Promise.all(batch.map(work))))
  }
  return done
}
