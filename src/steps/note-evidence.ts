import type { z } from 'zod'
import type { events } from '../../inngest.config.ts'
import { toOnehopError } from '../errors.ts'
import { emptyTally, evidenceOf, type PathEvidence, tallied } from '../plan/evidence.ts'
import { type ClusterService, selectServices, vantagesOf } from '../plan/mesh.ts'
import { deviceName } from '../plan/paths.ts'
import type { Setup } from '../setup.ts'

/**
 * Keeps what a vantage saw, if the attempt that asked is still the current one and asked with that word; whatever else
 * comes (late, twice, made up, from a machine that mesh.yaml does not name) is not kept, and the answer says why.
 *
 * @throws OnehopError service-unknown, journal-*
 */
export async function noteEvidence(
  setup: Setup,
  { service: name, attempt, vantage, ask, ...seen }: Probed,
): Promise<{ noted: boolean; why?: string }> {
  const [mesh, journal] = await Promise.all([setup.mesh(), setup.journal()])
  const [service] = selectServices(mesh, [name])
  if (!service || !vantagesOf(mesh, service).includes(vantage))
    return ignored(`mesh.yaml does not ask ${vantage} about ${name}`)
  return journal
    .guarded(name, attempt, async (entry, save) => {
      const { evidence } = entry
      if (evidence?.attempt !== attempt || evidence.ask?.word !== ask)
        return ignored('this attempt has not asked so')
      // The first answer was acted upon already.
      if (evidence.paths.some((each) => each.vantage === vantage)) return ignored('it was noted before')
      const to = new Date().toISOString()
      const host = deviceName(mesh, service)
      const path = rowOf(service, seen, { vantage, host, from: evidence.ask.at, to })
      await save({ ...entry, evidence: { ...evidence, paths: [...evidence.paths, path] } })
      return { noted: true }
    })
    .catch((thrown: unknown) => {
      const { code, message } = toOnehopError(thrown)
      if (code === 'attempt-superseded') return ignored(message)
      throw thrown
    })
}

export type Probed = z.output<(typeof events)['mesh/path.probed']>

const ignored = (why: string) => ({ noted: false, why })

/** A port that was not asked is not proven: the other machine's mesh.yaml may be an older one. */
function rowOf(
  { ports }: ClusterService,
  { answers, direct, relayed, failure }: Pick<Probed, 'answers' | 'direct' | 'relayed' | 'failure'>,
  { vantage, host, from, to }: { vantage: string; host: string; from: string; to: string },
): PathEvidence {
  const silent = plain(failure ?? 'was not asked: is mesh.yaml there the same as here?')
  const probed = answers.map(({ port, ok, ms, message = '' }) => ({
    target: { host, port },
    answer: ok ? { ok, ms } : { ok, ms, refused: false, message: plain(message) },
  }))
  const missing = ports
    .filter(({ port }) => !answers.some((each) => each.port === port))
    .map(({ port }) => ({
      target: { host, port },
      answer: { ok: false as const, ms: 0, refused: false, message: silent },
    }))
  const tally = [...probed, ...missing].reduce(tallied, { ...emptyTally(from), direct, relayed })
  return evidenceOf({ vantage, path: 'device name' }, tally, to)
}

/** It is shown on a terminal, and comes from another machine. */
const plain = (text: string) => text.replace(/[^ -~]/g, ' ')
