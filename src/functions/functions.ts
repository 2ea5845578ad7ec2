import type { Inngest } from 'inngest'
import type { Mesh } from '../plan/mesh.ts'
import type { Setup } from '../setup.ts'
import { createWorkflows, driftCron, type Trigger } from './workflows.ts'

/** The Inngest functions: one for each workflow. The schedule of the look for drift is that of mesh.yaml by now. */
export function createFunctions(client: Inngest, setup: Setup, drift: Mesh['drift']) {
  return createWorkflows(setup, (event) => client.send(event), { cron: driftCron(drift) }).map(
    ({ id, triggers, run }) =>
      client.createFunction({ id, triggers: triggers as [Trigger] }, (context) => run(context)),
  )
}
