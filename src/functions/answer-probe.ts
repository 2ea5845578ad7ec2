import type { Inngest } from 'inngest'
import { OnehopError } from '../errors.ts'
import { selectServices } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import { type ProbingSystems, probeFrom, sawNothing } from '../steps/probe-from.ts'
import { expectEvent } from './requested.ts'

/**
 * The function of another machine: proves from there what the worker asks about, and tells what it saw, bad or good. It
 * is never retried: the worker asks again, and a late answer would be about another moment.
 */
export const answerProbe = (client: Inngest, { as, setup, systems }: Options) =>
  client.createFunction(
    {
      id: 'probe',
      retries: 0,
      triggers: [{ event: 'mesh/path.probe.requested', if: `event.data.vantage == '${as}'` }],
    },
    async ({ event, step }) => {
      const { rounds, every, ...asked } = expectEvent('mesh/path.probe.requested', event.data)
      if (asked.vantage !== as) return { ignored: asked.vantage }
      const seen = await step.run('probe', async () => {
        try {
          const mesh = await setup.mesh()
          const [service] = selectServices(mesh, [asked.service])
          if (!service) throw new OnehopError('service-unknown', { service: asked.service, known: '' })
          return await probeFrom(systems(mesh), mesh, { service, rounds, every })
        } catch (thrown) {
          return sawNothing(thrown)
        }
      })
      await step.sendEvent('tell', { name: 'mesh/path.probed', data: { ...asked, ...seen } })
      return { answers: seen.answers.length, failures: seen.answers.filter((each) => !each.ok).length }
    },
  )

type Options = {
  /** The name by which mesh.yaml knows this machine: a DNS label. */
  as: string
  setup: Pick<Setup, 'mesh'>
  systems: ProbingSystems
}
