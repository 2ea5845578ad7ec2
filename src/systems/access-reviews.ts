import { AuthorizationV1Api } from '@kubernetes/client-node'
import { loadConfig } from './kube-config.ts'
import { coded } from './kubernetes-call.ts'

/**
 * Which of these the user of the kubeconfig may not do. The API server only answers; nothing is written. Throws
 * kubernetes-unreachable or kubernetes-refused.
 *
 * @throws OnehopError kubernetes-context-unknown
 */
export function createAccessReviews({
  context,
  kubeconfig,
}: {
  context: string
  kubeconfig?: string | undefined
}) {
  const api = loadConfig(context, kubeconfig).makeApiClient(AuthorizationV1Api)
  return {
    async refused(rights: Right[]): Promise<Right[]> {
      const answers = await Promise.all(
        rights.map(async (resourceAttributes) => {
          const body = {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview',
            spec: { resourceAttributes },
          }
          const work = api.createSelfSubjectAccessReview({ body })
          return coded({ context, action: 'asking what it may do', work })
        }),
      )
      return rights.filter((_, index) => answers[index]?.status?.allowed !== true)
    },
  }
}

/** Without a namespace it is meant for all. */
export type Right = { verb: string; group?: string; resource: string; namespace?: string }
