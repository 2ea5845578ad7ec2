import Table from 'cli-table3'
import type { MigrationResult, ServiceResult } from '../functions/migrate.ts'
import type { RequestRecord } from '../journal-records.ts'
import type { Answer } from './output.ts'

/** How a migration ended, service by service. */
export function migrationAnswer(record: RequestRecord): Answer {
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
