/** `work` for each, fifty at a time, in their order: macOS allows a process 256 open files, unless told otherwise. */
export async function inBatches<A, B>(all: A[], work: (each: A) => Promise<B>): Promise<B[]> {
  const done: B[] = []
  for (let at = 0; at < all.length; at += 50)
    done.push(...(await Promise.all(all.slice(at, at + 50).map(work))))
  return done
}
