import { bad, failed, good, type Judge, wasRead } from './check-judge.ts'
import { operatorAbsence, operatorWork } from './preflight.ts'

/** The operator: before a first move it need not be there, since migrate installs it. */
export const operatorChecks = {
  'operator-key-files': wasRead('operator-key-files'),
  'operator-client-own': ({ mesh, facts }) =>
    facts.sharedClient
      ? failed('operator-client-shared', { file: mesh.operator.credentials.clientIdFile })
      : good(),
  'operator-client-accepted': wasRead('operator-client-accepted'),
  'helm-runs': (view) => {
    const { cluster } = view.facts.snapshot
    const work = cluster && operatorWork(view.mesh, cluster)
    return work === 'install' || work === 'upgrade' ? wasRead('helm-runs')(view) : undefined
  },
  'operator-installed': ({ mesh, facts: { snapshot }, before }) => {
    const { namespace } = mesh.operator
    if (snapshot.cluster?.operator) return good(`in namespace ${namespace}`)
    const moved = snapshot.journal.some(({ state }) => state !== 'restored')
    return before || !moved ? good('not yet: onehop migrate does it') : bad({ namespace })
  },
  'operator-ours': ({ mesh, facts }) => {
    const operator = facts.snapshot.cluster?.operator
    return operator && (operator.ours ? good() : bad({ namespace: mesh.operator.namespace }))
  },
  'operator-version': ({ mesh, facts }) => {
    const operator = facts.snapshot.cluster?.operator
    const { version: wanted } = mesh.operator
    if (!operator || operator.version === wanted) return operator && good(wanted)
    const cure = operator.ours
      ? 'onehop operator install'
      : `set operator.version in mesh.yaml to ${operator.version}, or upgrade it where it is installed`
    return bad({ found: operator.version, wanted, cure })
  },
  'operator-namespace': ({ mesh, facts: { snapshot } }) => {
    const { namespace } = mesh.operator
    if (!snapshot.cluster?.operator) return undefined
    const label = snapshot.cluster.namespaces[namespace] || 'label missing'
    return label === 'privileged' ? good() : failed('namespace-not-privileged', { namespace, label })
  },
  'operator-proxyclass': ({ mesh, facts: { snapshot } }) => {
    // Another's operator has its own.
    if (!snapshot.cluster?.operator?.ours) return undefined
    const { proxyClass: name } = mesh.operator
    const ready = snapshot.cluster.proxyClassReady
    return ready ? good(name) : bad({ name, found: ready === undefined ? 'gone' : 'not Ready' })
  },
  'operator-running': ({ mesh, facts }) => {
    const operator = facts.snapshot.cluster?.operator
    const { namespace } = mesh.operator
    if (!operator) return undefined
    return operator.running ? good() : failed('operator-down', { namespace, message: operator.message })
  },
  'operator-on-tailnet': ({ mesh, facts: { snapshot } }) => {
    if (!snapshot.cluster?.operator) return undefined
    const message = operatorAbsence(mesh, snapshot)
    return message === undefined
      ? good()
      : failed('operator-deaf', { namespace: mesh.operator.namespace, message })
  },
} satisfies Record<string, Judge>
