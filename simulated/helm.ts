import { OnehopError } from '../src/errors.ts'
import type { Systems } from '../src/systems/systems.ts'
import type { Cluster } from './cluster.ts'
import type { Values } from './cluster-state.ts'
import type { Conditions } from './effect.ts'
import type { Process } from './process.ts'

/** Helm as src/systems/helm.ts runs it, for the charts of the cluster's state. */
export function createMemoryHelm({ effect, cluster, by }: Options): Systems['helm'] {
  const { state } = cluster
  const run = <T>({ action, namespace, release }: Run, writes: boolean, work: () => T) =>
    effect(
      by,
      {
        system: 'helm',
        what: `${action} ${release}`,
        writes,
        patience: 120,
        lost: () => failed({ action, namespace, release }, 'Command timed out after 120000 milliseconds'),
      },
      work,
    )
  return {
    upgradeInstall: ({ release, namespace, chart: asked, repository, version, values }) => {
      const of = { action: 'upgrade --install', namespace, release }
      return run(of, true, () => {
        const chart = state.charts.get(asked)
        if (!chart)
          throw failed(
            of,
            repository
              ? `Error: chart "${asked}" version "${version}" not found in ${repository} repository`
              : `Error: path "${asked}" not found`,
          )
        const merged = merge(chart.values, values)
        const { requires } = chart
        if (requires && merged[requires.value] === undefined)
          throw failed(of, `Error: execution error at (${chart.name}): ${requires.message}`)
        if (!state.namespaces.has(namespace))
          throw failed(of, `Error: create: failed to create: namespaces "${namespace}" not found`)
        cluster.install(namespace, release, {
          chart: chart.name,
          version: chart.version ?? version,
          values: merged,
        })
      })
    },
    uninstall: ({ release, namespace }) =>
      run({ action: 'uninstall', namespace, release }, true, () => cluster.uninstall(namespace, release)),
    release: ({ release, namespace }) => {
      const of = { action: 'get metadata', namespace, release }
      return run(of, false, () => {
        const found = state.releases.get(`${namespace}/${release}`)
        if (!found) throw failed(of, 'Error: release: not found')
        const { chart, version, values } = found
        return { chart, version, values: structuredClone(values) }
      })
    },
  }
}

const failed = ({ action, namespace, release }: Run, message: string) =>
  new OnehopError('helm-failed', { action: `${action} ${release}`, message, namespace, release })

/** Values over those of the chart, as Helm coalesces them: null takes a value of the chart away. */
function merge(base: Values, over: Values): Values {
  const isTable = (value: unknown): value is Values =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const merged = structuredClone(base)
  for (const [key, value] of Object.entries(over)) {
    const earlier = merged[key]
    if (value === null) delete merged[key]
    else merged[key] = isTable(earlier) && isTable(value) ? merge(earlier, value) : structuredClone(value)
  }
  return merged
}

type Run = { action: string; namespace: string; release: string }
type Options = { effect: Conditions['effect']; cluster: Cluster; by: Process }
