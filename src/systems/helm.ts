import { stringify } from 'yaml'
import { messageOf, OnehopError } from '../errors.ts'
import { type Run, runProgram } from './run-program.ts'

/** Helm 3 or 4. Values go in by standard input: what is set by flags stands in the process list and in the release. */
export function createHelm({ context, kubeconfig }: { context: string; kubeconfig?: string | undefined }) {
  const cluster = ['--kube-context', context, ...(kubeconfig ? ['--kubeconfig', kubeconfig] : [])]

  /** @throws OnehopError helm-failed with Helm's own message */
  async function run(
    args: string[],
    { action, release, namespace, ...more }: { action: string; release: string; namespace: string } & Run,
  ): Promise<string> {
    const refuse = (why: string, cause?: unknown) => {
      const message = why.trim().split('\n').slice(-3).join(' ').slice(0, 500)
      const details = { action: `${action} ${release}`, message, namespace, release }
      return new OnehopError('helm-failed', details, { cause })
    }
    const ran = await runProgram('helm', args, more).catch((thrown: unknown) => {
      throw refuse(messageOf(thrown), thrown)
    })
    if (!ran.failed) return ran.stdout
    throw refuse(ran.stderr || ran.message)
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
      // It may have to load the chart first. Ended in the middle, it marks its release as failed.
      const writing = { writes: true, deadline: 120_000, input: stringify(values) }
      await run(args, { action: 'upgrade --install', release, namespace, ...writing })
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
        ...{ writes: true, deadline: 20_000 },
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
  const missing = (message: string, cause?: unknown) =>
    new OnehopError('helm-missing', { message }, { cause })
  const { failed, stdout, message } = await runProgram('helm', ['version', '--short']).catch(
    (thrown: unknown) => {
      throw missing(messageOf(thrown), thrown)
    },
  )
  if (failed) throw missing(message)
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
