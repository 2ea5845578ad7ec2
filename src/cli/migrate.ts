import { confirm } from './confirm.ts'
import { sendAndFollow } from './follow.ts'
import { migrateByPlan } from './migrate-by-plan.ts'
import { migrationAnswer } from './migration-answer.ts'
import type { Answer } from './output.ts'
import { plan } from './plan.ts'

type Flags = { mesh: string; json?: boolean; yes?: boolean }

/**
 * onehop migrate [service ...]: prints the plan, asks, sends mesh/migration.requested and follows it. A plan that is not
 * complete is its whole answer, also with --yes: nothing is asked and nothing is sent. With --plan FILE it does not ask:
 * what was read is what is done, or nothing.
 */
export async function migrate({
  mesh,
  json,
  yes,
  plan: file,
  services,
}: Flags & { plan?: string; services: string[] }): Promise<Answer> {
  if (file !== undefined) return migrateByPlan({ mesh, quiet: Boolean(json), file, services })
  const planned = await plan({ mesh, services })
  if (planned.failure) return planned
  if (!yes) await confirm({ command: 'migrate', text: planned.text, question: 'Carry this out? (yes/no) ' })
  const data = services.length > 0 ? { services } : {}
  return migrationAnswer(
    await sendAndFollow({ meshFile: mesh, name: 'mesh/migration.requested', data, quiet: Boolean(json) }),
  )
}

/**
 * onehop expose SERVICE: sends mesh/service.expose.requested, a migration of one. It looks at nothing itself: the worker
 * refuses what it cannot read before its first change.
 */
export async function expose({ mesh, json, service }: Flags & { service: string }): Promise<Answer> {
  return migrationAnswer(
    await sendAndFollow({
      meshFile: mesh,
      name: 'mesh/service.expose.requested',
      data: { service },
      quiet: Boolean(json),
    }),
  )
}
