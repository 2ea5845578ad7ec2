import { type Failure, fromFailure, OnehopError } from '../errors.ts'
import { loadWork } from '../load-mesh.ts'
import type { Mesh } from '../plan/mesh.ts'
import { operatorWork, preflightMesh } from '../plan/preflight.ts'
import { awaited, type Step, tried } from '../steps/step.ts'
import { readCredential } from '../systems/credentials.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'

/**
 * Brings the operator to the wanted version: namespace, OAuth Secret, Helm release, ProxyClass; then waits until it has
 * joined the tailnet. A healthy one that is not ours is used as it is. Where all is there, nothing is written.
 */
export async function installOperator(
  step: Step,
  { meshFile }: { meshFile: string },
): Promise<InstallResult> {
  const looked = await tried(step, 'operator: look', async () => {
    const work = await loadWork(meshFile)
    const snapshot = await takeSnapshot(work)
    const [unreadable] = snapshot.failures.filter(
      (each) => each.code.startsWith('kubernetes') || each.code.startsWith('tailscale'),
    )
    if (unreadable) return { work: 'none' as const, failure: unreadable }
    const [problem] = preflightMesh(work.mesh, snapshot).filter((each) =>
      /^(cluster|operator|namespace)-/.test(each.code),
    )
    return {
      work: operatorWork(work.mesh, snapshot),
      ours: snapshot.cluster?.operator?.ours ?? true,
      ...(problem && { failure: problem }),
    }
  })
  if (!looked.ok) return { state: 'failed', failure: looked.failure }
  if (looked.value.failure) return { state: 'failed', failure: looked.value.failure }
  if (looked.value.work === 'none') return { state: 'ready', changed: false }

  for (const [part, apply] of Object.entries(parts)) {
    const applied = await tried(step, `operator/${part}: apply`, () => apply(meshFile))
    if (!applied.ok) return { state: 'failed', failure: applied.failure }
  }
  const { mesh } = await loadWork(meshFile)
  const proven = await awaited(step, 'operator: prove', {
    seconds: mesh.deadlines.operator,
    patient: true,
    look: () => proveOperator(meshFile),
  })
  return proven.ok ? { state: 'ready', changed: true } : { state: 'failed', failure: proven.failure }
}

export type InstallResult = { state: 'ready'; changed: boolean } | { state: 'failed'; failure: Failure }

const parts = {
  namespace: async (meshFile: string) => {
    const { mesh, systems } = await loadWork(meshFile)
    await systems.kubernetes.applyNamespace(mesh.operator.namespace)
  },
  secret: async (meshFile: string) => {
    const { mesh, systems } = await loadWork(meshFile)
    const { clientIdFile, clientSecretFile } = mesh.operator.credentials
    const [id, secret] = await Promise.all([readCredential(clientIdFile), readCredential(clientSecretFile)])
    await systems.kubernetes.applyOAuthSecret(mesh.operator.namespace, { id, secret })
  },
  helm: async (meshFile: string) => {
    const { mesh, systems } = await loadWork(meshFile)
    await systems.helm.upgradeInstall({ ...mesh.operator, values: helmValues(mesh) })
  },
  'proxy-class': async (meshFile: string) => {
    const { mesh, systems } = await loadWork(meshFile)
    await systems.kubernetes.applyProxyClass(mesh.operator.proxyClass)
  },
}

/** Our values under the user's own, which win. */
function helmValues({ operator }: Mesh): Record<string, unknown> {
  const ours = {
    operatorConfig: {
      hostname: operator.hostname,
      defaultTags: [operator.tag],
      tolerations: [
        { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
      ],
    },
    proxyConfig: { defaultProxyClass: operator.proxyClass },
  }
  return merge(ours, operator.values)
}

function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const plain = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const earlier = merged[key]
    merged[key] = plain(earlier) && plain(value) ? merge(earlier, value) : value
  }
  return merged
}

/** Ready is not enough: an operator without DNS is Running and Ready, and deaf. Its device must be on the tailnet. */
async function proveOperator(meshFile: string): Promise<void> {
  const work = await loadWork(meshFile)
  const snapshot = await takeSnapshot(work)
  const [failure] = [
    ...snapshot.failures,
    ...preflightMesh(work.mesh, snapshot).filter((each) => each.code.startsWith('operator')),
  ]
  if (failure) throw fromFailure(failure)
  if (operatorWork(work.mesh, snapshot) !== 'none')
    throw new OnehopError('operator-down', {
      namespace: work.mesh.operator.namespace,
      message: 'its ProxyClass is not ready yet',
    })
}
