/** What was asked has not been answered within its deadline. Where it stands as the cause of a coded error, asking again at once is no use. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'

  constructor(milliseconds: number, message = `no answer in ${milliseconds / 1000} s`) {
    super(message)
  }
}

/** Whether something failed because a system was silent, and not because it refused or could not be reached. */
export function isSilence(thrown: unknown): boolean {
  if (thrown instanceof NoAnswer) return true
  if (!(thrown instanceof Error)) return false
  return ('silent' in thrown && thrown.silent === true) || isSilence(thrown.cause)
}

/**
 * `work`, or a failure once the deadline has passed. It does not end `work`: whatever that has under way needs a deadline of
 * its own, and this one is for the sum.
 *
 * @throws NoAnswer, or what `late` makes of it
 */
export async function inTime<T>(
  milliseconds: number,
  work: () => Promise<T>,
  late: (silence: NoAnswer) => Error = (silence) => silence,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late(new NoAnswer(milliseconds))), milliseconds)
  })
  try {
    return await Promise.race([work(), over])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for something, but no longer than so many milliseconds. @returns whether it has ended, one way or the other */
export function hasEnded(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  return inTime(milliseconds, () =>
    work.then(
      () => true,
      () => true,
    ),
  ).catch(() => false)
}
