import type { DriftFacts, Finding, Standing } from './drift.ts'
import { operatorAbsence } from './preflight.ts'

/** What is not as it must be of the operator that the moved services hang on. */
export function operatorDrift({ mesh, snapshot, secret }: DriftFacts, standing: Standing[]): Finding[] {
  const { cluster } = snapshot
  if (!cluster || standing.length === 0) return []
  const { namespace, version, proxyClass } = mesh.operator
  const subject = 'operator'
  const { operator } = cluster
  if (!operator)
    return [{ kind: 'operator-gone', subject, what: `there is no operator in namespace ${namespace}` }]
  // Another's operator is used as it is.
  const mend = operator.ours ? undefined : null
  const findings: Finding[] = []
  if (!operator.running)
    findings.push({
      kind: 'operator-down',
      subject,
      what: `the operator does not run: ${operator.message}`,
      cure: `kubectl -n ${namespace} get pods; kubectl -n ${namespace} logs deploy/operator`,
    })
  if (operator.version !== version)
    findings.push({
      kind: 'operator-version',
      subject,
      what: `the operator is ${operator.version}, mesh.yaml pins ${version}`,
      mend,
      cure:
        mend === null
          ? 'set operator.version in mesh.yaml to what runs, or upgrade it where it is installed'
          : undefined,
    })
  const label = cluster.namespaces[namespace]
  if (label !== 'privileged')
    findings.push({
      kind: 'namespace-label-gone',
      subject,
      what: `namespace ${namespace} enforces ${label || 'nothing by a label'}, it was privileged`,
      mend,
      cure:
        mend === null
          ? `kubectl label namespace ${namespace} pod-security.kubernetes.io/enforce=privileged --overwrite`
          : undefined,
    })
  if (operator.ours && cluster.proxyClassReady !== true)
    findings.push({
      kind: 'proxyclass-unready',
      subject,
      what: `ProxyClass ${proxyClass} is ${cluster.proxyClassReady === false ? 'not Ready' : 'gone'}`,
    })
  if (secret === 'changed' || secret === 'gone')
    findings.push({
      kind: 'secret-changed',
      subject,
      what: `Secret ${namespace}/operator-oauth is ${secret === 'gone' ? 'gone' : 'not what the credential files say'}`,
    })
  const absence = operator.running && operatorAbsence(mesh, snapshot)
  if (absence)
    findings.push({
      kind: 'operator-deaf',
      subject,
      what: `the operator runs, but its device is not on the tailnet (${absence})`,
      cure: `look for DNS or egress trouble: kubectl -n ${namespace} logs deploy/operator`,
    })
  return findings
}
