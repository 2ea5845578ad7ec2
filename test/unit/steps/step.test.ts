import { expect, test } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { awaited, createStep, type EngineStep, tried } from '../../../src/steps/step.ts'
import { localStep } from '../local-step.ts'

/** Like the engine's: results go through JSON. Sleeps are noted, not slept. */
function notingStep() {
  const ids: string[] = []
  const engine: EngineStep = {
    async run<T>(id: string, work: () => Promise<T>) {
      ids.push(id)
      const result = await work()
      return (result === undefined ? null : JSON.parse(JSON.stringify(result))) as T
    },
    async sleep(id) {
      ids.push(id)
    },
    sendEvent: async () => undefined,
  }
  return { step: createStep(engine, (_phase, _options, work) => work()), ids }
}

test('a step that fails answers with its code, also after JSON', async () => {
  const { step } = notingStep()
  const outcome = await tried(step, 'look', async () => {
    throw new OnehopError('service-missing', { object: 'apps/redis' })
  })
  expect(outcome).toEqual({
    ok: false,
    failure: expect.objectContaining({ code: 'service-missing', kind: 'refused' }),
  })
})

test('a system that could not be reached is tried again, a bug is not', async () => {
  let calls = 0
  const answer = await tried(localStep, 'look', async () => {
    if (++calls < 2) throw new OnehopError('caddy-unreachable', { admin: 'http://localhost:2019' })
    return calls
  })
  expect(answer).toEqual({ ok: true, value: 2 })
  let bugs = 0
  await tried(localStep, 'look', async () => {
    bugs++
    throw new TypeError('x is undefined')
  })
  expect(bugs).toBe(1)
})

test('a wait polls until the proof holds', async () => {
  let calls = 0
  const look = async () => {
    if (++calls < 3) throw new OnehopError('device-not-ready')
    return 'here'
  }
  expect(await awaited(localStep, 'prove', { seconds: 5, look })).toEqual({ ok: true, value: 'here' })
})

test('a wait ends at its deadline with the last failure', async () => {
  const { step, ids } = notingStep()
  const look = () => Promise.reject(new OnehopError('device-not-ready'))
  const outcome = await awaited(step, 'prove', { seconds: 0.3, look })
  expect(outcome).toMatchObject({ ok: false, failure: { code: 'device-not-ready' } })
  expect(ids).toEqual(['prove'])
})

test.each([
  ['a proof that waiting cannot mend', 'name-not-given'],
  ['a refusal', 'service-missing'],
] as const)('a wait ends at once by %s', async (_, code) => {
  let calls = 0
  const look = () => {
    calls++
    return Promise.reject(new OnehopError(code))
  }
  const outcome = await awaited(localStep, 'prove', { seconds: 60, look })
  expect(outcome).toMatchObject({ ok: false, failure: { code } })
  expect(calls).toBe(1)
})

test('a patient wait takes a refusal for "not yet"', async () => {
  let calls = 0
  const look = async () => {
    if (++calls < 2) throw new OnehopError('operator-down')
    return 'up'
  }
  expect(await awaited(localStep, 'prove', { seconds: 5, look, patient: true })).toMatchObject({
    value: 'up',
  })
})
