/**
 * A question whose answer is kept with what it was asked about, for as long as that lives: a plan asks the same of one
 * snapshot for every service. What was thrown is kept too. Only for what nobody changes once it is made.
 */
export function remember<About extends object, Answer>(
  ask: (about: About) => Answer,
): (about: About) => Answer {
  const known = new WeakMap<About, () => Answer>()
  return (about) => {
    const earlier = known.get(about)
    if (earlier) return earlier()
    const found = settle(() => ask(about))
    known.set(about, found)
    return found()
  }
}

/** The entries of a list by a key, in their order. */
export function groupBy<T>(list: Iterable<T>, keyOf: (each: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const each of list) {
    const key = keyOf(each)
    const group = groups.get(key)
    if (group) group.push(each)
    else groups.set(key, [each])
  }
  return groups
}

function settle<T>(work: () => T): () => T {
  try {
    const value = work()
    return () => value
  } catch (thrown) {
    return () => {
      throw thrown
    }
  }
}
