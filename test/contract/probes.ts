import { expect, test } from 'vitest'
import type { Probes, Target } from '../../src/systems/probes.ts'

/**
 * What a proof needs of probes: an answer is an answer, and silence is one too. `make` gives a port of each kind: one of HTTP
 * that answers `me`, one of Redis, one where nothing listens, and a port map with nothing behind it.
 */
export function probesContract(make: () => Promise<Made>): void {
  test('a port of HTTP answers with what it is, and does not speak Redis', async () => {
    await using made = await make()
    const { probes, http } = made
    expect(await probes.tcp(http)).toMatchObject({ ok: true, ms: expect.any(Number) })
    expect(await probes.http(http, '/')).toMatchObject({ ok: true, identity: 'me' })
    expect(await probes.redis(http)).toMatchObject({
      ...{ ok: false, refused: false, message: expect.stringContaining('answered "HTTP/1.1 400') },
    })
  })

  test('a Redis answers with its run_id, and does not speak HTTP', async () => {
    await using made = await make()
    const { probes, redis } = made
    expect(await probes.tcp(redis)).toMatchObject({ ok: true })
    expect(await probes.redis(redis)).toMatchObject({ ok: true, identity: expect.stringMatching(/^\w{40}$/) })
    expect(await probes.http(redis, '/')).toMatchObject({
      ...{ ok: false, refused: false, message: expect.stringContaining('Parse Error') },
    })
  })

  test('a port where nothing listens is a refusal, not an error', async () => {
    await using made = await make()
    const { probes, silent } = made
    for (const answer of [
      await probes.tcp(silent),
      await probes.http(silent, '/'),
      await probes.redis(silent),
    ])
      expect(answer).toMatchObject({
        ...{ ok: false, refused: true, message: expect.stringContaining('ECONNREFUSED') },
      })
  })

  test("Docker's port map accepts before it dials: without a node port behind it, only a protocol fails", async () => {
    await using made = await make()
    const { probes, deadPortMap } = made
    expect(await probes.tcp(deadPortMap)).toMatchObject({ ok: true })
    for (const answer of [await probes.http(deadPortMap, '/'), await probes.redis(deadPortMap)])
      expect(answer).toMatchObject({ ok: false, refused: false })
  })

  test('a name that does not exist resolves to the text of an error', async () => {
    await using made = await make()
    const found = await made.probes.resolve('no-such-device.invalid')
    expect(found).toEqual({ magicDns: expect.any(String), system: expect.any(String) })
  })
}

type Made = {
  probes: Probes
  http: Target
  redis: Target
  silent: Target
  deadPortMap: Target
} & AsyncDisposable
