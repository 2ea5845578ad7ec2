import { execa } from 'execa'
import { stringify } from 'yaml'
import { OnehopError } from '../errors.ts'

/** Helm 3 or 4. Values go in by standard input: what is set by flags stands in the process list and in the release. */
export function createHelm({ context, kubeconfig }: { context: string; kubeconfig?: string | undefined }) {
  const cluster = ['--kube-context', context, ...(kubeconfig ? ['--kubeconfig', kubeconfig] : [])]
  return {
    /**
     * `helm upgrade --install`, without waiting: the caller proves what it waits for.
     *
     * @throws OnehopError helm-failed with Helm's own message
     */
    async upgradeInstall({ release, namespace, chart, repository, version, values }: Release): Promise<void> {
      const source = repository ? ['--repo', repository] : []
      // A chart in a local folder has the version that it has; --version is for repositories.
      const pinned = repository || !/^[./]/.test(chart) ? ['--version', version] : []
      const args = [
        'upgrade',
        '--install',
        release,
        chart,
        ...source,
        ...pinned,
        '--namespace',
        namespace,
        '--values',
        '-',
        ...cluster,
      ]
      const { failed, stderr, shortMessage } = await execa('helm', args, {
        input: stringify(values),
        reject: false,
        timeout: 120_000,
      })
      if (!failed) return
      const message = (stderr || shortMessage || '').trim().split('\n').slice(-3).join(' ').slice(0, 500)
      throw new OnehopError('helm-failed', {
        action: `upgrade --install ${release}`,
        message,
        namespace,
        release,
      })
    },
  }
}

type Release = {
  release: string
  namespace: string
  chart: string
  repository?: string | undefined
  version: string
  values: Record<string, unknown>
}
