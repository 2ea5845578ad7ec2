import type { Setup } from '../setup.ts'
import { type Attend, withPatience } from './step.ts'

/**
 * Before each step the journal is told that the run lives and by when it will say so again, and again while the step
 * works. A run that misses this is lost, whatever the engine says of it; a step of a run that was given up does nothing.
 */
export const attending =
  (setup: Setup, { request, run }: { request: string; run: string }): Attend =>
  async (phase, { always = false, rest = 0 }, work) => {
    const journal = await setup.journal()
    const { patience } = (await setup.mesh()).engine
    const checkIn = (again: boolean) =>
      journal.checkIn(request, run, { phase, seconds: patience + rest, always: always || again })
    // A disk that refuses once must not end a rollback as incomplete.
    await withPatience(() => checkIn(false))
    // Of a renewal that fails nothing follows: either the next step's own says why, or the deadline passes.
    const timer = setInterval(() => void checkIn(true).catch(() => undefined), (patience * 1000) / 3)
    return work().finally(() => clearInterval(timer))
  }
