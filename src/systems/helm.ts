import { execa } from 'execa'
import { stringify } from 'yaml'
import { OnehopError } from '../errors.ts'

/** Helm 3 or 4. Values go in by standard input: what is set by flags stands in the process list and in the release. */
export function createHelm({ context, kubeconfig }: { context: string; kubeconfig?: string | undefined }) {
  const cluster = ['--kube-context', context, ...(kubeconfig ? ['--kubeconfig', kubeconfig] : [])]

  /** @throws OnehopError helm-failed with Helm's own message */
  async function run(
    args: string[],
    {
      action,
      release,
      namespace,
      input,
    }: { action: string; release: string; namespace: string; input?: string },
  ): Promise<string> {
    const { failed, stdout, stderr, shortMessage } = await execa('helm', args, {
      ...(input !== undefined && { input }),
      reject: false,
      timeout: 120_000,
    })
    if (!failed) return stdout
    const message = (stderr || shortMessage || '').trim().split('\n').slice(-3).join(' ').slice(0, 500)
    throw new OnehopError('helm-failed', { action: `${action} ${release}`, message, namespace, release })
  }

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
      await run(args, { action: 'upgrade --install', release, namespace, input: stringify(values) })
    },
    /**
     * `helm uninstall`, without waiting for the pods; a release that is not there is no failure.
     *
     * @throws OnehopError helm-failed with Helm's own message
     */
    async uninstall({ release, namespace }: Pick<Release, 'release' | 'namespace'>): Promise<void> {
      await run(['uninstall', release, '--ignore-not-found', '--namespace', namespace, ...cluster], {
        action: 'uninstall',
        release,
        namespace,
      })
    },
    /**
     * A release as Helm keeps it. Where its chart came from is kept nowhere. The values may hold secrets: no more than their
     * keys may leave this process.
     *
     * @throws OnehopError helm-failed with Helm's own message
     */
    async release({ release, namespace }: Pick<Release, 'release' | 'namespace'>): Promise<HelmRelease> {
      const get = (what: string, ...more: string[]) =>
        run(['get', what, release, ...more, '--output', 'json', '--namespace', namespace, ...cluster], {
          action: `get ${what}`,
          release,
          namespace,
        })
      const { chart, version } = JSON.parse(await get('metadata')) as Omit<HelmRelease, 'values'>
      return { chart, version, values: JSON.parse(await get('values', '--all')) }
    },
  }
}

/** The version of the program. @throws OnehopError helm-missing */
export async function helmVersion(): Promise<string> {
  const { failed, stdout, shortMessage } = await execa('helm', ['version', '--short'], {
    reject: false,
    timeout: 10_000,
  })
  if (failed) throw new OnehopError('helm-missing', { message: shortMessage ?? '' })
  return stdout.trim()
}

type Release = {
  release: string
  namespace: string
  chart: string
  repository?: string | undefined
  version: string
  values: Record<string, unknown>
}

/** `chart` is a name without a repository; `values` are those of the chart with the user's over them. */
export type HelmRelease = { chart: string; version: string; values: unknown }
