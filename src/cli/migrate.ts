import { createInterface } from 'node:readline/promises'
import Table from 'cli-table3'
import { OnehopError } from '../errors.ts'
import type { MigrationResult, ServiceResult } from '../functions/migrate.ts'
import type { RequestRecord } from '../journal.ts'
import { sendAndFollow } from './follow.ts'
import type { Answer } from './output.ts'
import { plan } from './plan.ts'

type Flags = { mesh: string; json?: boolean; yes?: boolean }

/** onehop migrate [service ...]: prints the plan, asks, sends mesh/migration.requested and follows it. */
export async function migrate({
  mesh,
  json,
  yes,
  services,
}: Flags & { services: string[] }): Promise<Answer> {
  if (!yes) await confirm({ mesh, services })
  const data = services.length > 0 ? { services } : {}
  return migrationAnswer(
    await sendAndFollow({ meshFile: mesh, name: 'mesh/migration.requested', data, quiet: Boolean(json) }),
  )
}

/** onehop expose SERVICE: sends mesh/service.expose.requested, a migration of one. */
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

async function confirm(flags: { mesh: string; services: string[] }): Promise<void> {
  if (!process.stdin.isTTY)
    throw new OnehopError('flag-invalid', {
      message: 'no terminal to ask on: pass --yes',
      command: 'migrate',
    })
  const { text } = await plan(flags)
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  process.stderr.write(`${text}\n`)
  const said = await ask.question('Carry this out? (yes/no) ')
  ask.close()
  if (!/^y(es)?$/i.test(said.trim()))
    throw new OnehopError('flag-invalid', { message: 'not carried out', command: 'migrate' })
}

function migrationAnswer(record: RequestRecord): Answer {
  const result = record.result as MigrationResult | null
  const services = result?.services ?? []
  const restored = services.find((each) => each.state === 'restored')
  return {
    result: { request: record.id, state: record.state, services },
    text: services.length > 0 ? tableOf(services) : '',
    failure: record.failure,
    next: services.some((each) => each.state === 'moved')
      ? ['onehop status', 'onehop rollback SERVICE']
      : ['onehop plan'],
    ...(restored && record.state === 'failed' && { exit: 3 as const }),
  }
}

function tableOf(services: ServiceResult[]): string {
  const table = new Table({
    head: ['service', 'state', 'ms old', 'ms new', 'way', 'same backend by', 'why'],
    style: { head: [], border: [], compact: true },
  })
  for (const { name, state, oldMs, newMs, direct, backend, failure } of services)
    table.push([
      name,
      state,
      oldMs ?? '',
      newMs ?? '',
      direct === undefined ? '' : direct ? 'direct' : 'relay',
      backend ?? '',
      failure?.code ?? '',
    ])
  return table.toString()
}
