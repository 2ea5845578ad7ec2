import { beforeAll, expect, test } from 'vitest'
import { type CaseName, endStates } from './end-states.ts'
import { caddyfile, entryOf, onehop, read, serviceOwned, waitFor } from './panda.ts'
import { stagings } from './stagings.ts'

beforeAll(async () => {
  const { envelope } = await onehop('operator', 'install')
  expect(envelope.error).toBeNull()
})

const objects: Record<string, string> = { inngest: 'inngest-svc' }

// That each service can be moved is the main job's to show: here one stands for all, unless ONEHOP_ALL_PHASES is set.
const cases = (Object.keys(endStates) as CaseName[]).filter(
  (name, index) => process.env.ONEHOP_ALL_PHASES || index === 0 || !name.endsWith('is moved'),
)

test.for(cases)('%s: ends in its one state', async (name) => {
  const { service, state, code } = endStates[name]
  const { arrange, during, restore } = stagings[name]
  const object = objects[service] ?? service
  const before = { owned: await serviceOwned(object), caddyfile: read(caddyfile) }
  await arrange?.()
  const earlier = entryOf(service)?.attempt ?? 0
  try {
    const started = performance.now()
    const running = onehop('expose', service)
    if (during) {
      await waitFor(`${service} to be under way`, () => (entryOf(service)?.attempt ?? 0) > earlier)
      await during()
    }
    const { envelope } = await running
    console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`)
    const found = envelope.result?.services?.[0]?.state ?? envelope.result?.state
    expect({ state: found, code: envelope.error?.code ?? null }).toEqual({ state, code })
  } finally {
    await restore?.()
    if (!['restored', undefined].includes(entryOf(service)?.state))
      await onehop('rollback', service, '--local')
  }
  expect(read(caddyfile)).toBe(before.caddyfile)
  expect(['restored', undefined]).toContain(entryOf(service)?.state)
  // Where the case replaced the object or its spec itself, there is no earlier one to compare with.
  if (!/recreated|missing|headless|port|endpoints/.test(name))
    expect(await serviceOwned(object)).toEqual(before.owned)
})
