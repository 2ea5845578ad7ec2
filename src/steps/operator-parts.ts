import { fromFailure, OnehopError } from '../errors.ts'
import { loadWork } from '../load-mesh.ts'
import type { Mesh } from '../plan/mesh.ts'
import { operatorWork, preflightMesh } from '../plan/preflight.ts'
import { readCredential } from '../systems/credentials.ts'
import { takeSnapshot } from '../systems/take-snapshot.ts'
import { awaited, type Outcome, type Step, tried } from './step.ts'

/** What there is to do about the operator; a failure stands in the way of all of it. */
export function lookAtOperator(step: Step, meshFile: string) {
  return tried(step, 'operator: look', async () => {
    const work = await loadWork(meshFile)
    const snapshot = await takeSnapshot(work)
    const [unreadable] = snapshot.failures.filter(
      (each) => each.code.startsWith('kubernetes') || each.code.startsWith('tailscale'),
    )
    const seconds = work.mesh.deadlines.operator
    if (unreadable) return { work: 'none' as const, seconds, failure: unreadable }
    const [problem] = preflightMesh(work.mesh, snapshot).filter((each) =>
      /^(cluster|operator|namespace)-/.test(each.code),
    )
    return {
      work: operatorWork(work.mesh, snapshot),
      seconds,
      ...(problem && { failure: problem }),
    }
  })
}

/** Applies each part of the installation, in order; the first failure ends it. */
export async function applyOperator(step: Step, meshFile: string): Promise<Outcome<void>> {
  for (const [part, apply] of Object.entries(parts)) {
    // The ProxyClass is refused until the API server has taken in its kind, a moment after Helm has applied it.
    const applied = await (part === 'proxy-class'
      ? awaited(step, `operator/${part}: apply`, { seconds: 30, patient: true, look: () => apply(meshFile) })
      : tried(step, `operator/${part}: apply`, () => apply(meshFile)))
    if (!applied.ok) return applied
  }
  return { ok: true, value: undefined }
}

/** Waits until the operator has joined the tailnet. */
export const awaitOperator = (step: Step, meshFile: string, seconds: number): Promise<Outcome<void>> =>
  awaited(step, 'operator: prove', { seconds, patient: true, look: () => proveOperator(meshFile) })

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
