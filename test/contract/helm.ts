import { expect, test } from 'vitest'
import type { Systems } from '../../src/systems/systems.ts'

/**
 * What onehop needs of Helm. `make` gives a namespace without a release of that name, and a chart `tiny` 1.2.3 in a folder
 * (test/fixtures/chart), whose template fails without a value `note`.
 */
export function helmContract(make: () => Promise<Made>): void {
  const failed = (message: string) =>
    expect.objectContaining({ code: 'helm-failed', message: expect.stringContaining(message) })
  const install = ({ helm, release, namespace, chart }: Made, values: Record<string, unknown>) =>
    helm.upgradeInstall({ release, namespace, chart, version: '9.9.9', values })

  test('a release says its chart, the version of the chart, and the values over those of the chart', async () => {
    await using made = await make()
    await install(made, { note: 'one', nested: { mine: 'user' } })
    expect(await made.helm.release(made)).toEqual({
      chart: 'tiny',
      version: '1.2.3',
      values: { kept: true, note: 'one', nested: { mine: 'user', also: 'chart' } },
    })
  })

  test('an upgrade takes the values that it is given, and none of the release before', async () => {
    await using made = await make()
    await install(made, { note: 'one', extra: 1 })
    await install(made, { note: 'two', kept: null })
    expect((await made.helm.release(made)).values).toEqual({
      note: 'two',
      nested: { mine: 'chart', also: 'chart' },
    })
  })

  test('what is uninstalled is no release any more, and uninstalling it again is no failure', async () => {
    await using made = await make()
    await install(made, { note: 'one' })
    await made.helm.uninstall(made)
    await expect(made.helm.release(made)).rejects.toEqual(failed('not found'))
    await made.helm.uninstall(made)
  })

  test("a chart whose template fails is refused in the chart's own words, and makes no release", async () => {
    await using made = await make()
    await expect(install(made, {})).rejects.toEqual(failed('a note is needed'))
    await expect(made.helm.release(made)).rejects.toEqual(failed('not found'))
  })

  test('an upgrade that fails leaves the release as it was', async () => {
    await using made = await make()
    await install(made, { note: 'one' })
    await expect(install(made, { note: null })).rejects.toEqual(failed('a note is needed'))
    expect(await made.helm.release(made)).toMatchObject({ values: { note: 'one' } })
  })

  test('a chart that is not there and a namespace that is not there are refused', async () => {
    await using made = await make()
    await expect(install({ ...made, chart: `${made.chart}-not-there` }, {})).rejects.toEqual(
      failed('not found'),
    )
    const elsewhere = { ...made, namespace: 'no-such-namespace' }
    await expect(install(elsewhere, { note: 'one' })).rejects.toEqual(failed('no-such-namespace'))
  })
}

type Made = {
  helm: Systems['helm']
  namespace: string
  release: string
  chart: string
} & AsyncDisposable
