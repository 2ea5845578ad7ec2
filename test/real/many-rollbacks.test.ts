import { writeFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { caddyfile, onehop, read, serviceDevices, serviceOwned, world } from './panda.ts'
import { policy, setPolicy } from './tailnet-policy.ts'

const services = ['redis', 'qdrant', 'livekit', 'typesense', 'pds']
// Twenty rollbacks take minutes: with ONEHOP_ALL_PHASES all of them, otherwise five.
const rounds = process.env.ONEHOP_ALL_PHASES ? 4 : 1

beforeAll(async () => {
  await onehop('operator', 'install')
})

const reload = () => world.panda.run('caddy', ['reload', '--config', caddyfile, '--adapter', 'caddyfile'])
const siteOf = (round: number) => `http://localhost:${5990 + round} {\n\trespond "by hand ${round}"\n}\n`
const firstGrant = /^ *\{"src": \["joel@"\].*\n/m
const grantOf = (round: number) =>
  `    {"src": ["joel@"], "dst": ["panda"], "ip": ["tcp:${round + 1}"]}, // by hand\n`

// A fixed seed, so that a failure can be seen again; the order still differs from round to round.
function shuffled<T>(all: T[], seed: number): T[] {
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed / 2147483648
  }
  return all
    .map((each) => ({ each, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ each }) => each)
}

test(`${rounds * services.length} rollbacks in random order, with edits by hand in between: the edits stay, ours go, nothing is left`, async () => {
  const before = {
    caddyfile: read(caddyfile),
    policy: await policy(),
    owned: await Promise.all(services.map(serviceOwned)),
  }
  // What both files are without ours: the same edits made of the first ones.
  let theirs = { caddyfile: before.caddyfile, policy: before.policy }
  for (let round = 0; round < rounds; round++) {
    const { envelope } = await onehop('migrate', ...services, '--yes')
    expect(envelope.error).toBeNull()
    for (const [index, service] of shuffled(services, round + 7).entries()) {
      if (index === 1) {
        const edit = (text: string) => `# by hand, round ${round}\n${text}${siteOf(round)}`
        writeFileSync(caddyfile, edit(read(caddyfile)))
        await reload()
        theirs = { ...theirs, caddyfile: edit(theirs.caddyfile) }
      }
      if (index === 3) {
        const edit = (text: string) => text.replace(firstGrant, (line) => `${line}${grantOf(round)}`)
        await setPolicy(edit(await policy()))
        theirs = { ...theirs, policy: edit(theirs.policy) }
      }
      const { envelope: undone } = await onehop('rollback', service)
      expect(undone.result).toMatchObject({ service, state: 'restored' })
    }
    expect(read(caddyfile)).toBe(theirs.caddyfile)
    expect(await policy()).toBe(theirs.policy)
  }
  const { stdout } = await world.panda.run('curl', ['-sf', 'http://localhost:5990'])
  expect(stdout).toBe('by hand 0')
  expect(await Promise.all(services.map(serviceOwned))).toEqual(before.owned)
  expect(await serviceDevices()).toEqual([])
  const objects = await world.kubectl([
    '-n',
    'tailscale',
    'get',
    'secrets,statefulsets,services',
    '-l',
    'tailscale.com/managed=true',
    '-o',
    'name',
  ])
  expect(objects.trim()).toBe('')
  writeFileSync(caddyfile, before.caddyfile)
  await reload()
  await setPolicy(before.policy)
}, 600_000)
