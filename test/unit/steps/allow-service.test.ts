import { expect, test } from 'vitest'
import { OnehopError } from '../../../src/errors.ts'
import { addAccess } from '../../../src/plan/policy.ts'
import type { Access } from '../../../src/plan/policy-access.ts'
import { type AllowState, allowService } from '../../../src/steps/allow-service.ts'
import type { Systems } from '../../../src/systems/systems.ts'

const panda = { name: 'panda', machine: true, addresses: ['100.64.0.1'], tags: [] }
const access: Access = {
  service: 'redis',
  tag: 'tag:svc-redis',
  owner: 'tag:k8s-operator',
  ports: [6379],
  sources: [panda],
  neighbours: [],
}
const original = '{\n  "grants": [\n  ],\n}\n'

/** A tailnet whose policy other people edit at the worst moment. */
function tailnet(text: string, others: Array<(text: string) => string> = []) {
  const world = { text, version: 1, writes: 0 }
  const systems = {
    tailscale: {
      policy: async () => {
        const read = { text: world.text, etag: `"${world.version}"` }
        const other = others.shift()
        if (other) Object.assign(world, { text: other(world.text), version: world.version + 1 })
        return read
      },
      setPolicy: async ({ text, etag }: { text: string; etag: string }) => {
        if (etag !== `"${world.version}"`) throw new OnehopError('policy-stale')
        Object.assign(world, { text, version: world.version + 1, writes: world.writes + 1 })
      },
    },
  } as unknown as Systems
  return { world, systems }
}

const target = () => ({ access, added: addAccess(original, access).added })
const write = (systems: Systems) =>
  allowService.write(systems, [{ before: { access: null, added: [] }, target: target() }])

test('what is added is taken out again, each in one write', async () => {
  const { world, systems } = tailnet(original)
  await write(systems)
  await write(systems)
  expect(world.writes).toBe(1)
  const kept = JSON.parse(JSON.stringify(target()))
  await allowService.undo(systems, [kept], false)
  await allowService.undo(systems, [kept], false)
  expect(world).toMatchObject({ text: original, writes: 2 })
})

test('an edit that comes in between is read again, and stays', async () => {
  const comment = (text: string) => `${text}// mine\n`
  const { world, systems } = tailnet(original, [comment, comment])
  await write(systems)
  expect(world.text).toContain('/* onehop: redis */')
  await allowService.undo(systems, [target()], false)
  expect(world.text).toBe(`${original}// mine\n// mine\n`)
})

test('it does not try for ever', async () => {
  const busy = Array.from({ length: 9 }, (_, at) => (text: string) => `${text}// ${at}\n`)
  const { world, systems } = tailnet(original, busy)
  await expect(write(systems)).rejects.toMatchObject({ code: 'policy-stale' })
  expect(world.writes).toBe(0)
})

test('what was recorded but never written is nothing to undo', async () => {
  const { world, systems } = tailnet(original)
  await allowService.undo(systems, [target()], false)
  expect(world).toMatchObject({ text: original, writes: 0 })
})

test('what a second move adds, once the rule for all is gone, is taken out by the same undo', async () => {
  const rule = '    {"src": ["*"], "dst": ["*"], "ip": ["*"]},\n'
  const open = original.replace('  ],', `${rule}  ],`)
  const first: AllowState = { access, added: addAccess(open, access).added }
  const { world, systems } = tailnet(addAccess(open, access).text.replace(rule, ''))
  // Denials mean something only now.
  const now: AllowState = { access, added: addAccess(world.text, access).added }
  expect(now.added.length).toBeGreaterThan(0)
  await write(systems)
  const both = allowService.extended?.(first, now) ?? first
  expect(allowService.extended?.(both, now)).toBeUndefined()
  await allowService.undo(systems, [both], false)
  expect(world.text).toBe(original)
})
