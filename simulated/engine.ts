import type { EventPayload } from 'inngest'
import type { Workflow } from '../src/functions/workflows.ts'
import type { EngineStep } from '../src/steps/step.ts'
import type { Sent } from '../src/systems/engine.ts'
import type { Conditions } from './effect.ts'
import { never, onBehalf, type Process } from './process.ts'

/**
 * An engine that does what Inngest does at worst: at-least-once steps whose results go through JSON, handlers entered
 * anew at any step, no catch block on cancel, everything forgotten at a restart. See facts of Inngest 1.44.
 */
export function createEngine({ random, effect, note, violate }: EngineConditions) {
  let runs = new Map<string, Run>()
  let seen = new Set<string>()
  let worker: Worker | undefined
  let [numbered, queued, epoch] = [0, 0, 0]
  let gone = false
  let delayNext = 0

  /** Something that the engine does later, unless it has forgotten it by then. */
  const later = (milliseconds: number, work: () => void) => {
    const since = epoch
    queued++
    setTimeout(() => {
      if (since !== epoch) return
      queued--
      work()
    }, milliseconds)
  }
  const backoff = () => 15_000 + random() * 30_000
  const lives = (run: Run) => runs.get(run.id) === run && run.state === 'running'

  function deliver(event: Sent): void {
    if (gone) return
    if (event.id !== undefined) {
      if (seen.has(event.id)) return
      seen.add(event.id)
    }
    const delay = 5 + random() * 50 + delayNext
    delayNext = 0
    later(delay, () => {
      for (const { id, triggers } of worker?.workflows ?? known)
        if (triggers.some((each) => 'event' in each && each.event === event.name)) start(id, event)
    })
  }
  let known: Workflow[] = []

  function start(workflow: string, event: EventPayload, steps = new Map<string, Memo>()): Run {
    const run: Run = {
      id: `${workflow === 'recover' ? workflow : 'run'}-${++numbered}`,
      workflow,
      event,
      steps,
      state: 'running',
      invocation: 0,
      attempts: 0,
      active: false,
      checkpointing: random() < 0.5,
      again: undefined,
    }
    runs.set(run.id, run)
    note('engine', `${run.id} ${workflow} ${event.id ?? event.name}`)
    later(1, () => invoke(run))
    return run
  }

  function invoke(run: Run): void {
    if (!lives(run)) return
    const current = worker
    if (!current?.process.alive) {
      attemptFailed(run, new Error('no worker'))
      return
    }
    const workflow = current.workflows.find((each) => each.id === run.workflow)
    if (!workflow) return
    const invocation = ++run.invocation
    run.active = true
    // A running handler holds nothing that counts: all that it knows comes from the memory of its steps.
    const context = {
      event: structuredClone(run.event),
      runId: run.id,
      step: toolsOf(run, invocation, current.process),
    }
    const isMine = () => lives(run) && run.invocation === invocation && current.process.alive
    void onBehalf.run(run.id, () =>
      workflow.run(context).then(
        () => isMine() && end(run, 'completed'),
        (thrown: unknown) => {
          if (!isMine()) return
          if (isFinal(thrown)) fail(run, thrown)
          else attemptFailed(run, thrown)
        },
      ),
    )
  }

  const reenter = (run: Run) => later(1 + random() * 20, () => invoke(run))

  function attemptFailed(run: Run, thrown: unknown): void {
    run.active = false
    run.invocation++
    if (++run.attempts >= 4) fail(run, thrown)
    else later(backoff(), () => invoke(run))
  }

  function end(run: Run, state: Run['state']): void {
    run.state = state
    run.active = false
    note('engine', `${run.id} ${run.workflow} ${state}`)
  }

  function fail(run: Run, thrown: unknown): void {
    end(run, 'failed')
    note('engine', `${run.id}: ${thrown instanceof Error ? thrown.message : thrown}`)
    tell('inngest/function.failed', run)
  }

  const tell = (name: string, run: Run) =>
    deliver({ name, data: { function_id: `onehop-${run.workflow}`, run_id: run.id, event: run.event } })

  function toolsOf(run: Run, invocation: number, process: Process): EngineStep {
    const asked = new Set<string>()
    const isCurrent = () => lives(run) && run.invocation === invocation && process.alive
    return {
      async run<T>(id: string, work: () => Promise<T>): Promise<T> {
        if (!isCurrent()) return never()
        if (asked.has(id)) violate('I4', `${run.id} asks for step "${id}" twice in one invocation`)
        asked.add(id)
        const memo = run.steps.get(id)
        if (memo?.state === 'done') return JSON.parse(memo.json)
        if (memo?.state === 'failed') throw Object.assign(new Error(memo.message), { name: 'StepError' })
        if (memo?.state === 'running' && run.again !== id) return never()
        if (memo?.state === 'running') run.again = undefined
        const mine: Memo = { state: 'running', process, tries: (memo?.tries ?? 0) + 1 }
        run.steps.set(id, mine)
        // As Inngest does: without a catch block, and without a word.
        if (run.steps.size > 1000) {
          violate('I8', `the engine has ended ${run.id} at its 1,000th step`)
          end(run, 'failed')
          return never()
        }
        note(process.name, `${run.id} step "${id}"`)
        let json: string
        try {
          json = JSON.stringify((await work()) ?? null)
        } catch (thrown) {
          if (run.steps.get(id) === mine) stepFailed(run, id, thrown)
          return never()
        }
        await effect(process, { system: 'engine', what: `result of ${id}` }, () => {
          if (!lives(run) || run.steps.get(id) !== mine) return
          if (run.again === id) {
            // The result was lost: the step is run again, although it had its effect.
            run.again = undefined
            run.steps.delete(id)
            later(backoff(), () => invoke(run))
            run.invocation++
          } else {
            run.steps.set(id, { state: 'done', json, tries: mine.tries })
            run.attempts = 0
          }
        })
        if (run.steps.get(id)?.state === 'done' && isCurrent() && run.checkpointing && random() < 0.8)
          return JSON.parse(json)
        if (lives(run) && run.steps.get(id)?.state === 'done') reenter(run)
        return never()
      },
      async sleep(id, milliseconds) {
        if (!isCurrent()) return never()
        const memo = run.steps.get(id)
        if (memo?.state === 'done') return
        if (memo) return never()
        run.steps.set(id, { state: 'sleeping', tries: 1 })
        later(milliseconds, () => {
          if (!lives(run)) return
          run.steps.set(id, { state: 'done', json: 'null', tries: 1 })
          invoke(run)
        })
        return never()
      },
      sendEvent(id, event) {
        return this.run(id, async () => {
          for (const each of [event].flat())
            await effect(process, { system: 'engine', what: `send ${each.name}` }, () => deliver(each))
          return null
        })
      },
    }
  }

  function stepFailed(run: Run, id: string, thrown: unknown): void {
    if (!lives(run)) return
    const tries = run.steps.get(id)?.tries ?? 1
    note('engine', `${run.id} step "${id}" failed: ${thrown instanceof Error ? thrown.message : thrown}`)
    run.invocation++
    if (tries >= 4 || isFinal(thrown)) {
      run.steps.set(id, { state: 'failed', message: String(thrown), tries })
      later(1, () => invoke(run))
    } else {
      run.steps.set(id, { state: 'sleeping', tries })
      later(backoff(), () => {
        run.steps.delete(id)
        invoke(run)
      })
    }
  }

  const running = () => [...runs.values()].filter((each) => each.state === 'running')
  const pick = <T>(all: T[]): T | undefined => all[Math.floor(random() * all.length)]

  return {
    /** How many steps each run of a workflow has taken. */
    stepsOf: (workflow: string) =>
      [...runs.values()].filter((each) => each.workflow === workflow).map((each) => each.steps.size),
    /** From outside of a run: by the command line, or by the worker's own watch. */
    async send(by: Process, event: Sent): Promise<void> {
      const lost = () => new Error('the engine does not answer')
      await effect(by, { system: 'engine', what: `send ${event.name}`, writes: true, lost }, () => {
        if (gone) throw lost()
        deliver(event)
      })
    },
    deliver,
    attach(each: Worker) {
      worker = each
      known = each.workflows
    },
    /** The engine sees the end of the connection: a failed attempt of whatever was running there. */
    workerDied(process: Process) {
      if (worker?.process === process) worker = undefined
      for (const run of running()) {
        const cut = [...run.steps].filter(([, memo]) => memo.state === 'running' && memo.process === process)
        for (const [id] of cut) run.steps.delete(id)
        if (run.active || cut.length > 0) attemptFailed(run, new Error('worker died'))
      }
    },
    /** A restart without --redis-uri: runs, queue and event ids are forgotten; what is running in the worker runs on. */
    restart() {
      const lost = running().length
      runs = new Map()
      seen = new Set()
      ;[queued, epoch] = [0, epoch + 1]
      arm()
      return lost > 0
    },
    leave() {
      gone = true
      runs = new Map()
      epoch++
      queued = 0
    },
    cancelOne(): boolean {
      const run = pick(running().filter((each) => each.workflow !== 'recover'))
      if (!run) return false
      end(run, 'cancelled')
      tell('inngest/function.cancelled', run)
      return true
    },
    /** A step again: its result is lost, or it is given out twice at once; or a person's rerun, whole or from a step. */
    duplicate(): boolean {
      const chance = random()
      if (chance < 0.6) {
        const run = pick(
          running().filter((each) => [...each.steps.values()].some((memo) => memo.state === 'running')),
        )
        const step = run && pick([...run.steps].filter(([, memo]) => memo.state === 'running'))
        if (!run || !step) return false
        run.again = step[0]
        if (chance < 0.2) later(1, () => invoke(run))
        return true
      }
      const run = pick([...runs.values()].filter((each) => each.workflow !== 'recover'))
      if (!run) return false
      const done = [...run.steps].filter(([, memo]) => memo.state === 'done')
      const kept = chance < 0.8 ? 0 : Math.floor(random() * done.length)
      start(run.workflow, run.event, new Map(done.slice(0, kept)))
      return true
    },
    /** A person's rerun of each run that has ended, as a whole and from each of its steps. */
    reruns(): Array<{ what: string; again: () => void }> {
      return [...runs.values()]
        .filter(({ workflow, state }) => workflow !== 'recover' && state !== 'running')
        .flatMap((run) => {
          const done = [...run.steps].filter(([, memo]) => memo.state === 'done')
          return done.map(([step], kept) => ({
            what: `${run.workflow} ${run.event.id} from "${step}"`,
            again: () => void start(run.workflow, run.event, new Map(done.slice(0, kept))),
          }))
        })
    },
    reorder() {
      delayNext = 5000 + random() * 60_000
    },
    isGone: () => gone,
    idle: () => queued === 0 && running().length === 0,
    arm,
  }

  function arm() {
    const since = epoch
    const tick = () =>
      setTimeout(() => {
        if (since !== epoch || gone) return
        if (
          worker &&
          ![...runs.values()].some((each) => each.workflow === 'recover' && each.state === 'running')
        )
          start('recover', { name: 'inngest/scheduled.timer', data: {} })
        tick()
      }, 60_000)
    tick()
  }
}

type EngineConditions = Pick<Conditions, 'random' | 'effect'> & {
  /** Says what happens, for a trace. */
  note(by: string, what: string): void
  /** A workflow did what the engine's contract forbids. */
  violate(invariant: string, message: string): void
}
type Worker = { process: Process; workflows: Workflow[] }
type Run = {
  id: string
  workflow: string
  event: EventPayload
  steps: Map<string, Memo>
  state: 'running' | 'completed' | 'failed' | 'cancelled'
  /** Which entering of the handler counts; the steps of an earlier one still run to their ends. */
  invocation: number
  attempts: number
  active: boolean
  /** Whether one invocation runs several steps. */
  checkpointing: boolean
  /** The step that is to be run once more. */
  again: string | undefined
}
type Memo = { tries: number } & (
  | { state: 'running'; process: Process }
  | { state: 'sleeping' }
  | { state: 'done'; json: string }
  | { state: 'failed'; message: string }
)

const isFinal = (thrown: unknown) => thrown instanceof Error && thrown.name === 'NonRetriableError'
