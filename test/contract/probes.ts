import { expect, test } from 'vitest'
import type { Probes } from '../../src/systems/probes.ts'

/** What a proof needs of probes: an answer is an answer, and silence is one too. `make` gives a port of each kind. */
export function probesContract(
  make: () => Promise<{ probes: Probes; answers: Target; silent: Target } & AsyncDisposable>,
): void {
  test('a port that answers tells who it is, and how long it took', async () => {
    await using made = await make()
    const { probes, answers } = made
    expect(await probes.tcp(answers)).toMatchObject({ ok: true, ms: expect.any(Number) })
    expect(await probes.http(answers, '/')).toMatchObject({ ok: true, identity: expect.stringMatching(/./) })
  })

  test('a port where nobody listens is a failed answer and no error', async () => {
    await using made = await make()
    const { probes, silent } = made
    for (const answer of [
      await probes.tcp(silent),
      await probes.http(silent, '/'),
      await probes.redis(silent),
    ])
      expect(answer).toMatchObject({ ok: false, message: expect.any(String) })
  })

  test('a name that nobody has resolves to the text of an error', async () => {
    await using made = await make()
    const found = await made.probes.resolve('no-such-device.invalid')
    expect(found).toEqual({ magicDns: expect.any(String), system: expect.any(String) })
  })
}

type Target = { host: string; port: number }
