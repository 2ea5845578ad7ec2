import Table from 'cli-table3'
import { OnehopError } from '../errors.ts'
import { dnsLabel } from '../names.ts'
import { emptyTally, evidenceOf, tallied, vantageProblem, wayOf } from '../plan/evidence.ts'
import { selectServices } from '../plan/mesh.ts'
import { deviceName } from '../plan/paths.ts'
import { startProber } from '../prober.ts'
import { refuseSimulated } from '../refuse-simulated.ts'
import { createSetup } from '../setup.ts'
import { probeFrom } from '../steps/probe-from.ts'
import { createProbingSystems } from '../systems/probing-systems.ts'
import { untilInterrupted } from './end.ts'
import type { Answer } from './output.ts'

/**
 * onehop probe --as NAME [--engine URL] [--gateway URL]: proves device names from this machine whenever the worker asks,
 * until SIGINT or SIGTERM. With --once it looks now and says what it saw; nothing is sent, and no engine is needed.
 */
export async function probe({ mesh, as, once, engine, gateway }: Flags): Promise<Answer> {
  // The name becomes part of an app id, and of the condition by which the engine chooses this machine.
  if (!dnsLabel.safeParse(as).success)
    throw new OnehopError('flag-invalid', {
      message: `--as: expected a machine name as in mesh.yaml, got ${JSON.stringify(as)}`,
      command: 'probe',
    })
  refuseSimulated(await createSetup(mesh).mesh(), 'probe')
  if (once) return probeOnce({ mesh, as })
  const log = (line: string) => process.stderr.write(`${line}\n`)
  await untilInterrupted(() => startProber({ meshFile: mesh, as, engine, gateway, log }))
  return { result: { stopped: true }, text: 'stopped' }
}

type Flags = {
  mesh: string
  as: string
  once?: boolean
  engine?: string | undefined
  gateway?: string | undefined
}

async function probeOnce({ mesh: file, as }: Pick<Flags, 'mesh' | 'as'>): Promise<Answer> {
  const mesh = await createSetup(file).mesh()
  const services = selectServices(mesh).filter((each) => each.proveFrom.includes(as))
  if (services.length === 0)
    throw new OnehopError('flag-invalid', {
      message: `--as: no service of mesh.yaml has ${as} in its proveFrom`,
      command: 'probe',
    })
  const systems = createProbingSystems(mesh)
  const from = new Date().toISOString()
  const seen = await Promise.all(
    services.map(async (service) => {
      const { answers, direct, relayed } = await probeFrom(systems, mesh, { service, rounds: 1, every: 1 })
      const tally = answers.reduce(
        (sum, { port, ok, ms, message = '' }) =>
          tallied(sum, {
            target: { host: deviceName(mesh, service), port },
            answer: ok ? { ok, ms } : { ok, ms, message, refused: false },
          }),
        { ...emptyTally(from), direct, relayed },
      )
      const place = { vantage: as, path: 'device name' } as const
      return { service: service.name, ...evidenceOf(place, tally, new Date().toISOString()) }
    }),
  )
  const table = new Table({
    head: ['service', 'answered', 'ms', 'way', 'why'],
    style: { head: [], border: [], compact: true },
  })
  for (const each of seen) {
    const { service, probes, failures, p99 = '', message = '' } = each
    table.push([service, `${probes - failures} of ${probes}`, p99, wayOf(each), message])
  }
  // What a soak may miss now and then is half of what one look sees.
  const allowed = { ...mesh.soak, failures: 0 }
  const [problem] = seen.flatMap(({ service, ...each }) => vantageProblem(service, each, allowed) ?? [])
  return { result: { vantage: as, services: seen }, text: table.toString(), failure: problem?.toJSON() }
}
