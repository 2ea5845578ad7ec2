import { type Failure, toOnehopError } from '../errors.ts'

/** What every command answers with --json: one line, also when it fails. */
export type Envelope = {
  ok: boolean
  command: string
  result: unknown
  error: { code: string; message: string } | null
  fix: string | null
  next_actions: string[]
}

/** Exit codes: 0 done, 1 failed, 2 bad input (or, where plan was asked so, changes: no failure), 3 rolled back. */
export type Answer = {
  result: unknown
  text: string
  next?: string[]
  failure?: Failure | undefined
  exit?: 0 | 1 | 2 | 3
}

/** Runs a command, prints its answer (the envelope with --json, else text) and sets the exit code. */
export async function answer(
  command: string,
  { json }: { json?: boolean | undefined },
  work: () => Promise<Answer>,
): Promise<void> {
  const {
    result,
    text,
    next = [],
    failure,
    exit,
  } = await work().catch(
    (thrown: unknown): Answer => ({ result: null, text: '', failure: toOnehopError(thrown).toJSON() }),
  )
  process.exitCode = exit ?? (failure ? exitOf(failure) : 0)
  if (json) {
    const error = failure ? { code: failure.code, message: failure.message } : null
    const envelope: Envelope = {
      ok: process.exitCode === 0 || (process.exitCode === 2 && !failure),
      command,
      result,
      error,
      fix: failure?.fix ?? null,
      next_actions: next,
    }
    process.stdout.write(`${JSON.stringify(envelope)}\n`)
    return
  }
  if (text) process.stdout.write(`${text}\n`)
  if (failure)
    process.stderr.write(
      `${failure.message}  [${failure.code}]\n  fix: ${failure.fix}\n  more: docs/runbook/${failure.code}.md\n`,
    )
  if (next.length > 0) process.stdout.write(`next:\n${next.map((each) => `  ${each}`).join('\n')}\n`)
}

const exitOf = ({ kind }: Failure) => (kind === 'input' ? 2 : 1)
