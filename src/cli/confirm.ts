import { createInterface } from 'node:readline/promises'
import { OnehopError } from '../errors.ts'

/** Shows what would be done and asks once. @throws OnehopError flag-invalid without a terminal, not-confirmed without a yes */
export async function confirm({
  command,
  text,
  question,
}: {
  command: string
  text: string
  question: string
}): Promise<void> {
  if (!process.stdin.isTTY)
    throw new OnehopError('flag-invalid', { message: `${text}\nno terminal to ask on: pass --yes`, command })
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  // At the prompt the terminal leaves Ctrl-C to us.
  ask.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  process.stderr.write(`${text}\n`)
  // Ctrl-D ends the input: that is no yes, and no error either.
  const said = await ask.question(question).catch(() => '')
  ask.close()
  if (!/^y(es)?$/i.test(said.trim())) throw new OnehopError('not-confirmed', { command })
}
