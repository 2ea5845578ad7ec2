import { stringify } from 'yaml'
import type { HelmRelease } from '../systems/helm.ts'
import type { ServiceTypeFacts } from '../systems/kubernetes-facts.ts'
import { isBranch } from './json.ts'

/**
 * Where a Service's type is written, apart from the cluster. The next `helm upgrade` or `kubectl apply` of an unchanged
 * source would bring the NodePort back.
 *
 * `kept` says that onehop leaves the type alone, since Helm owns it, and what its owner can do (docs/decisions/0006).
 * `release` is what Helm says of it, or why it could not be asked.
 */
export function typeSource(
  facts: ServiceTypeFacts,
  release?: HelmRelease | { message: string },
): { kept?: KeptType; note: string } {
  const { namespace, name, type, helmRelease, manager } = facts
  const by = manager ?? 'an unknown field manager'
  if (helmRelease === undefined)
    return {
      note: `Service ${namespace}/${name} was written by ${by}; commit this, or the next apply brings the NodePort back:\n${manifestPatch(facts)}`,
    }
  const found = release && 'chart' in release ? release : undefined
  const set = found ? typeKeys(found.values, facts).map((key) => `${key}=ClusterIP`) : []
  const chart = found ? `REPOSITORY/${found.chart} --version ${found.version}` : 'CHART --version VERSION'
  const values = set.map((each) => `--set ${each}`).join(' ') || '--set KEY=ClusterIP'
  const command = `helm -n ${namespace} upgrade ${helmRelease} ${chart} --reuse-values ${values}`
  const why = found
    ? set.length > 0
      ? `the ${set.length > 1 ? 'values that hold' : 'value that holds'} ${type}: ${set.map((each) => each.replace(/=.*/, '')).join(', ')}`
      : `no value of chart ${found.chart} ${found.version} holds ${type}: its template writes it, so ask its author for one`
    : `its values could not be read (${release && 'message' in release ? release.message : 'Helm was not asked'}); look in: helm -n ${namespace} get values ${helmRelease} --all`
  return {
    kept: { managed: 'helm', release: helmRelease, type, set, command },
    note: [
      `Service ${namespace}/${name} belongs to Helm release ${helmRelease} (type written by ${by}): its type stays ${type}`,
      `${why}. To free the node port yourself, set it in your values file, look at this with --dry-run=server, then run it without:`,
      command,
      `before onehop rollback, set it back to ${type} with the same node ports`,
    ].join('\n'),
  }
}

/** A Service whose type onehop leaves to Helm: `set` are the values to set, as far as the release shows them. */
export type KeptType = { managed: 'helm'; release: string; type: string; set: string[]; command: string }

/**
 * The keys of a release's values, as `--set` has them, that hold this Service's type. Of several, those that stand beside one
 * of its ports; a chart with one such key has it for the Service that bears the release's name, mostly.
 */
export function typeKeys(
  values: unknown,
  { type, ports }: Pick<ServiceTypeFacts, 'type' | 'ports'>,
): string[] {
  const own = ports.flatMap(({ port, nodePort }) => [port, nodePort])
  const holds = (node: unknown): boolean =>
    isBranch(node) ? Object.values(node).some(holds) : own.includes(Number(node))
  const within = (node: unknown, path: string[]): Array<{ key: string; near: boolean }> =>
    isBranch(node)
      ? Object.entries(node).flatMap(([key, value]) =>
          value === type && !Array.isArray(node)
            ? [{ key: [...path, escaped(key)].join('.'), near: holds(node) }]
            : within(value, Array.isArray(node) ? indexed(path, key) : [...path, escaped(key)]),
        )
      : []
  const all = within(values, [])
  const near = all.filter((each) => each.near)
  return (all.length > 1 && near.length > 0 ? near : all).map(({ key }) => key)
}

const escaped = (key: string) => key.replace(/[.,=[\]{}\\]/g, '\\$&')
const indexed = (path: string[], index: string) => [...path.slice(0, -1), `${path.at(-1) ?? ''}[${index}]`]

/**
 * The change of a Service's manifest, as a patch of the two places in it: `type`, and each nodePort, which the API server
 * refuses on a ClusterIP Service.
 */
export function manifestPatch({ namespace, name, type, ports }: ServiceTypeFacts): string {
  const lines = ports.flatMap(({ name: portName, port, nodePort }) => [
    ...(portName
      ? [`     - name: ${stringify(portName).trim()}`, `       port: ${port}`]
      : [`     - port: ${port}`]),
    ...(nodePort === undefined ? [] : [`-      nodePort: ${nodePort}`]),
  ])
  return [
    `# Service ${namespace}/${name}`,
    ' spec:',
    `-  type: ${type}`,
    '+  type: ClusterIP',
    '   ports:',
    ...lines,
    '',
  ].join('\n')
}
