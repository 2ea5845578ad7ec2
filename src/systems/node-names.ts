import type { V1Node } from '@kubernetes/client-node'
import { loadConfig } from './kube-config.ts'
import { coded } from './kubernetes-call.ts'
import { listPages, RawLists } from './list-pages.ts'

/** The names of the cluster's nodes. @throws OnehopError kubernetes-* */
export async function readNodeNames({
  context,
  kubeconfig,
}: {
  context: string
  kubeconfig?: string | undefined
}): Promise<string[]> {
  const lists = loadConfig(context, kubeconfig).makeApiClient(RawLists)
  const names = await listPages(
    (part) => coded({ context, action: 'listing nodes', work: lists.page<V1Node>('/api/v1/nodes', part) }),
    ({ metadata }) => metadata?.name ?? '',
  )
  return names.filter(Boolean)
}
