import { type ErrorDetails, type Failure, OnehopError, toOnehopError } from '../errors.ts'
import { exitCodeOf, print, type Signal } from './end.ts'

/** What every command answers with --json: one line, also when it fails. */
export type Envelope = {
  ok: boolean
  command: string
  result: unknown
  error: { code: string; message: string } | null
  fix: string | null
  next_actions: string[]
}

/**
 * Exit codes: 0 done, 1 failed, 2 bad input (or, where plan was asked so, changes: no failure), 3 rolled back, 130 and so on
 * where a signal has ended it.
 */
export type Answer = {
  result: unknown
  text: string
  next?: string[]
  failure?: Failure | undefined
  exit?: number
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
    (thrown: unknown): Answer => ({
      result: null,
      text: '',
      failure: toOnehopError(thrown).toJSON(),
      ...(thrown instanceof Interruption && { exit: thrown.exit }),
    }),
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
    return print(process.stdout, `${JSON.stringify(envelope)}\n`)
  }
  if (text) await print(process.stdout, `${text}\n`)
  if (failure)
    await print(
      process.stderr,
      `${failure.message}  [${failure.code}]\n  fix: ${failure.fix}\n  more: docs/runbook/${failure.code}.md\n`,
    )
  if (next.length > 0) await print(process.stdout, `next:\n${next.map((each) => `  ${each}`).join('\n')}\n`)
}

const exitOf = ({ kind }: Failure) => (kind === 'input' ? 2 : 1)

/** A signal has ended the command; its code says what becomes of what it was about. */
export class Interruption extends OnehopError {
  readonly exit: number

  constructor(
    signal: Signal,
    code: 'request-goes-on' | 'rollback-interrupted' | 'simulated-request-stopped',
    details: ErrorDetails,
  ) {
    super(code, details)
    this.exit = exitCodeOf(signal)
  }
}
