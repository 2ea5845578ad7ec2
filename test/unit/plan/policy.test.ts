import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'jsonc-parser'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { OnehopError } from '../../../src/errors.ts'
import { type ClusterService, parseMesh, selectServices } from '../../../src/plan/mesh.ts'
import { addAccess, removeAccess } from '../../../src/plan/policy.ts'
import { type Access, type PolicyDevice, wantedAccess } from '../../../src/plan/policy-access.ts'
import { insertEntry, type Piece, parsePolicy, sectionOf } from '../../../src/plan/policy-text.ts'
import { narrowWideOpen, wideOpen } from '../../../src/plan/policy-wide-open.ts'

const folder = join(import.meta.dirname, '../../fixtures/policy')
const files = readdirSync(folder).map((file) => file.replace('.hujson', ''))
const read = (name: string) => readFileSync(join(folder, `${name}.hujson`), 'utf8')

const refusals: Record<string, [code: string, line: number | undefined]> = {
  'empty-object': ['policy-without-rules', undefined],
  'only-comments-within': ['policy-without-rules', undefined],
  'refused-array': ['policy-unreadable', 2],
  'refused-carriage-return': ['policy-unreadable', 2],
  'refused-double-comma': ['policy-unreadable', 2],
  'refused-duplicate-host': ['policy-unreadable', 5],
  'refused-duplicate-section': ['policy-unreadable', 4],
  'refused-empty-file': ['policy-unreadable', 1],
  'refused-host-elsewhere': ['policy-host-differs', 3],
  'refused-missing-comma': ['policy-unreadable', 3],
  'refused-null-section': ['policy-unreadable', 2],
  'refused-open-comment': ['policy-unreadable', 3],
  'refused-owners-of-wrong-type': ['policy-unreadable', 4],
  'refused-rule-of-wrong-type': ['policy-unreadable', 3],
  'refused-section-of-wrong-type': ['policy-unreadable', 3],
  'refused-single-quotes': ['policy-unreadable', 2],
}
const edited = files.filter((file) => !(file in refusals))

const credentials = { clientIdFile: 'a', clientSecretFile: 'b' }
const meshOf = (services: object) =>
  parseMesh(
    stringify({
      kubernetes: { context: 'admin@talos' },
      tailnet: 't.ts.net',
      machine: 'panda',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://localhost:8288' },
      services,
    }),
    'mesh.yaml',
  )
const device = (name: string, last: number, tags: string[] = []): PolicyDevice => ({
  name: `${name}.t.ts.net`,
  addresses: [`fd7a:115c:a1e0::${last}`, `100.64.0.${last}`],
  tags,
})
const devices = [device('panda', 1), device('clanker-001', 2), device('builder', 3, ['tag:ci'])]
const mesh = meshOf({
  redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] },
  qdrant: { service: 'apps/qdrant', ports: [6333, 6334], allow: ['panda', 'clanker-001'] },
  typesense: { service: 'apps/typesense', ports: [8108], allow: ['panda', 'builder', 'autogroup:admin'] },
})
const services = selectServices(mesh)
const accessOf = (service: ClusterService, of = mesh, known = devices): Access => {
  const access = wantedAccess(of, service, known)
  if (!access) throw new Error('allow is empty')
  return access
}
const accesses = services.map((service) => accessOf(service))
const [redis, qdrant] = accesses as [Access, Access, Access]

function addAll(text: string, wanted = accesses) {
  const added: Record<string, Piece[]> = {}
  let now = text
  for (const access of wanted) {
    const result = addAccess(now, access)
    added[access.service] = result.added
    now = result.text
  }
  return { text: now, added }
}
const remove = (text: string, added: Piece[] = [], options = {}) => removeAccess(text, added, options).text

const orders = <T>(of: T[]): T[][] =>
  of.length < 2
    ? [of]
    : of.flatMap((first, at) => orders(of.toSpliced(at, 1)).map((rest) => [first, ...rest]))

function refusal(work: () => unknown): OnehopError {
  try {
    work()
  } catch (thrown) {
    if (thrown instanceof OnehopError) return thrown
    throw thrown
  }
  throw new Error('it was taken')
}

test('there are files of every kind', () => {
  expect(edited.length).toBeGreaterThanOrEqual(20)
  expect(Object.keys(refusals).filter((file) => !files.includes(file))).toEqual([])
})

describe.each(edited)('%s', (file) => {
  const original = read(file)
  const { text, added } = addAll(original)

  test('says what is wanted, read by another parser', () => {
    for (const access of accesses) {
      const { tag, owner, sources, ports } = access
      const policy = lowered(parse(text.replace(/^\uFEFF/, '')))
      expect(policy.tagowners?.[tag]).toContain(owner)
      for (const { name, machine, addresses } of sources) {
        for (const port of ports) expect(grants(policy, name, tag, port), `${name} ${tag}:${port}`).toBe(true)
        if (machine && !name.startsWith('tag:'))
          expect(addresses).toContain(policy.hosts?.[name]?.replace('/32', ''))
      }
    }
  })

  test('keeps every byte that was there, in order', () => {
    const letters = [...original]
    let next = 0
    for (const letter of text) if (letter === letters[next]) next++
    expect(next).toBe(letters.length)
    expect(text.includes('\r\n') && /[^\r]\n/.test(text)).toBe(
      original.includes('\r\n') && /[^\r]\n/.test(original),
    )
  })

  test('adding again changes nothing and names the same entries', () => {
    let now = text
    for (const access of accesses) {
      const again = addAccess(now, access)
      now = again.text
      expect(again.added).toEqual(added[access.service])
    }
    expect(now).toBe(text)
  })

  test.for(orders(services.map(({ name }) => name)))('undone in order %s it is what it was', (order) => {
    let now = text
    for (const name of order) now = remove(now, added[name])
    expect(now).toBe(original)
    for (const name of order) expect(remove(now, added[name])).toBe(now)
  })

  test("the user's edits in between stay", () => {
    for (const edit of edits) {
      let now = edit(text, 1)
      for (const name of Object.keys(added)) now = remove(now, added[name])
      expect(now).toBe(edit(original, 1))
    }
  })
})

describe('a file that cannot be edited is refused', () => {
  test.each(Object.entries(refusals))('%s', (file, [code, line]) => {
    const error = refusal(() => addAll(read(file)))
    expect(error.code).toBe(code)
    expect(error.details.line).toBe(line)
    if (line !== undefined) expect(error.message).toContain(`line ${line} `)
  })
})

test('any order of adding, removing and editing leaves only what the user did', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = randomOf(seed)
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
    const file = pick(edited)
    let theirs = read(file)
    let now = theirs
    const added: Record<string, Piece[]> = {}
    for (let turn = 0; turn < 12; turn++) {
      const access = pick(accesses)
      const what = random()
      if (what < 0.45) {
        const result = addAccess(now, access)
        now = result.text
        added[access.service] = result.added
      } else if (what < 0.75) {
        now = remove(now, added[access.service])
        delete added[access.service]
      } else {
        const edit = pick(edits)
        now = edit(now, turn)
        theirs = edit(theirs, turn)
      }
    }
    for (const pieces of Object.values(added)) now = remove(now, pieces)
    expect(now, `seed ${seed}, ${file}`).toBe(theirs)
  }
})

describe('what is written', () => {
  const empty = '{\n  "grants": [\n  ],\n}\n'

  test('is a tag, a grant, hosts and tests, each with a mark', () => {
    expect(addAccess(empty, redis).text).toBe(`{
  "hosts": {
    "panda": "100.64.0.1", /* onehop */
    "clanker-001": "100.64.0.2", /* onehop */
  }, /* onehop */
  "tagOwners": {
    "tag:svc-redis": ["tag:k8s-operator"], /* onehop: redis */
  }, /* onehop */
  "tests": [
    {"src": "panda", "accept": ["tag:svc-redis:6379"]}, /* onehop: redis */
    {"src": "clanker-001", "deny": ["tag:svc-redis:6379"]}, /* onehop: redis */
    {"src": "tag:ci", "deny": ["tag:svc-redis:6379"]}, /* onehop: redis */
  ], /* onehop */
  "grants": [
    {"src": ["panda"], "dst": ["tag:svc-redis"], "ip": ["tcp:6379"]}, /* onehop: redis */
  ],
}
`)
  })

  test('is in the style of acls where there are only acls', () => {
    const { text } = addAccess('{\n  "acls": [],\n}\n', qdrant)
    expect(parse(text).acls).toEqual([
      {
        action: 'accept',
        src: ['panda', 'clanker-001'],
        dst: ['tag:svc-qdrant:6333', 'tag:svc-qdrant:6334'],
      },
    ])
  })

  test('denies the next port where everybody known is allowed', () => {
    const alone = meshOf({ redis: { service: 'apps/redis', ports: [6379], allow: ['panda'] } })
    const [service] = selectServices(alone)
    if (!service) throw new Error('no service')
    expect(parse(addAccess(empty, accessOf(service, alone)).text).tests).toEqual([
      { src: 'panda', accept: ['tag:svc-redis:6379'] },
      { src: 'panda', deny: ['tag:svc-redis:6380'] },
    ])
  })

  test('is nothing where the user has written it all', () => {
    const all = read('own-identical-grant')
    const alone = { ...redis, neighbours: [] }
    const text = all.replace('"accept": [', '"deny": ["tag:svc-redis:6380"], "accept": [')
    expect(addAccess(text, alone)).toEqual({ text, added: [], untested: [] })
  })

  test('is no deny test that a rule of the user would fail', () => {
    const { untested, text } = addAccess(read('wide-open-acls'), redis)
    expect(untested.map(({ src }) => src)).toEqual(['clanker-001', 'tag:ci'])
    expect(parse(text).tests).toEqual([{ src: 'panda', accept: ['tag:svc-redis:6379'] }])
    // Members reach only what has no tag; a tagged device is no member.
    const members =
      '{\n  "grants": [\n    {"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"]},\n  ],\n}\n'
    expect(addAccess(members, redis).untested).toEqual([])
    const all =
      '{\n  "grants": [\n    {"src": ["autogroup:member"], "dst": ["tag:svc-redis"], "ip": ["*"]},\n  ],\n}\n'
    expect(addAccess(all, redis).untested.map(({ src }) => src)).toEqual(['clanker-001'])
  })

  test('names a device by its tag only if no other has it', () => {
    const known = [device('panda', 1, ['tag:server']), device('clanker-001', 2, ['tag:server'])]
    const [service] = services
    if (!service) throw new Error('no service')
    expect(accessOf(service, mesh, known).sources).toMatchObject([{ name: 'panda', machine: true }])
    expect(accessOf(service, mesh, known.slice(0, 1)).sources).toMatchObject([{ name: 'tag:server' }])
  })

  test('is nothing at all for an empty allow', () => {
    const none = meshOf({ redis: { service: 'apps/redis', ports: [6379] } })
    expect(selectServices(none).map((service) => wantedAccess(none, service, devices))).toEqual([undefined])
  })

  test('a machine that nobody knows is refused, and only where it is allowed', () => {
    const known = devices.slice(0, 1)
    const [first, second] = services
    if (!first || !second) throw new Error('no services')
    expect(refusal(() => addAccess(empty, accessOf(second, mesh, known)))).toMatchObject({
      code: 'policy-machine-unknown',
      details: { service: 'qdrant', machine: 'clanker-001' },
    })
    expect(addAccess(empty, accessOf(first, mesh, known)).text).not.toContain('clanker-001')
  })
})

describe('undo is compare-and-swap', () => {
  const original = read('existing-grants')
  const { text, added } = addAll(original)

  test('a changed entry is shown with its line, and left alone', () => {
    const widened = text.replace('"ip": ["tcp:6379"]', '"ip": ["*"]')
    const error = refusal(() => remove(widened, added.redis))
    expect(error.code).toBe('policy-changed-by-others')
    expect(error.details.found).toContain('"ip": ["*"]')
    expect(widened.split('\n')[Number(error.details.line) - 1]).toContain(
      '"dst": ["tag:svc-redis"], "ip": ["*"]',
    )
    expect(refusal(() => addAccess(widened, redis)).code).toBe('policy-changed-by-others')
    // The other services are not held up by it.
    const rest = remove(remove(widened, added.qdrant), added.typesense)
    expect(remove(rest, added.redis, { force: true })).toBe(original)
  })

  test('a changed tag or host is refused too', () => {
    for (const [from, to] of [
      ['"tag:svc-redis": ["tag:k8s-operator"]', '"tag:svc-redis": ["joel@example.com"]'],
      ['"panda": "100.64.0.1"', '"panda": "100.64.0.7"'],
    ] as const) {
      expect(text).toContain(from)
      expect(refusal(() => remove(text.replace(from, to), added.redis)).code).toBe('policy-changed-by-others')
    }
  })

  test("an entry that is gone counts as undone, one without a mark is the user's", () => {
    const [line = ''] = /\n[^\n]*"dst": \["tag:svc-redis"\][^\n]*/.exec(text) ?? []
    let now = text.replace(line, '')
    for (const name of ['redis', 'qdrant', 'typesense']) now = remove(now, added[name])
    expect(now).toBe(original)
    const adopted = text.replace(line, line.replace(' /* onehop: redis */', ''))
    expect(remove(adopted, added.redis)).toContain(line.replace(' /* onehop: redis */', ''))
  })

  test('a formatter in between is no edit', () => {
    const formatted = text.replace(/": \["/g, '":  [ "')
    let now = formatted
    for (const name of ['redis', 'qdrant', 'typesense']) now = remove(now, added[name])
    expect(now).toBe(original.replace(/": \["/g, '":  [ "'))
  })

  test('a host and a tag stay as long as something else names them', () => {
    const rule = '{"src": ["panda"], "dst": ["tag:svc-redis:22"], "ip": ["*"]},'
    const used = text.replace('"grants": [', `"grants": [${rule}`)
    let now = used
    for (const name of ['redis', 'qdrant', 'typesense']) now = remove(now, added[name])
    const policy = parse(now)
    expect(policy.hosts).toEqual({ panda: '100.64.0.1' })
    expect(Object.keys(policy.tagOwners)).toEqual(['tag:svc-redis', 'tag:k8s-operator', 'tag:web'])
    expect(remove(now.replace(rule, ''), Object.values(added).flat())).toBe(original)
  })

  test.each([
    ['a URL', '"derpMap": {"at": "https://derp.example.com"},'],
    ['a block comment', '/* see https://derp.example.com */'],
  ])('the slashes of %s begin no line comment: the undo gives back every byte', (_, before) => {
    const original = `{\n  ${before} "hosts": {"z": "100.64.0.79",\n  },\n}\n`
    const piece = { at: ['hosts'], key: 'panda', value: '100.64.0.1', mark: '' }
    expect(remove(insertEntry(original, piece), [piece])).toBe(original)
  })

  test('what somebody moved behind a comment does not draw the rest into it', () => {
    const moved = text.replace(
      /\n[^\n]*"dst": \["tag:svc-redis"\][^\n]*\n\s*/,
      (line) => ` // note${line.trimEnd()} `,
    )
    expect(parse(remove(moved, added.redis)).grants).toEqual(parse(remove(text, added.redis)).grants)
  })

  test('only the line of the right service counts as its own', () => {
    expect(remove(text, added.redis)).toContain('/* onehop: qdrant */')
    expect(remove(text, added.redis)).not.toContain('onehop: redis')
  })
})

describe('rules from * to *', () => {
  test.each([
    ['wide-open-acls', [5]],
    ['wide-open-grants', [4]],
    ['old-spelling', [6]],
    ['autogroup', []],
    ['own-wider-grant', []],
  ] as const)('in %s', (file, lines) => {
    expect(wideOpen(read(file)).map(({ line }) => line)).toEqual(lines)
  })

  test.each([
    '{"src": ["autogroup:member"], "dst": ["*"], "ip": ["*"]}',
    '{"src": ["*"], "dst": ["*"], "ip": ["tcp:*"]}',
    '{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:a"]}',
    '{"src": ["*"], "dst": ["*"], "app": {"example.com/x": []}}',
    '{"src": ["*"], "dst": ["autogroup:internet"], "ip": ["*"]}',
  ])('%s is none', (rule) => {
    expect(wideOpen(`{"grants": [${rule}]}`)).toEqual([])
  })

  const all = [
    ...devices,
    device('redis', 11, ['tag:svc-redis']),
    { ...device('gate', 4), routes: ['10.0.0.0/24', '0.0.0.0/0', '::/0'] },
  ]
  const tags = services.map(({ tag }) => tag)

  test.each(['wide-open-acls', 'wide-open-grants', 'old-spelling'])('%s is narrowed and put back', (file) => {
    const original = read(file)
    const { text, added } = narrowWideOpen(original, { devices: all, tags })
    expect(wideOpen(text)).toEqual([])
    const policy = lowered(parse(text))
    const names = ['panda', 'clanker-001', 'tag:ci', 'gate']
    for (const src of names)
      for (const dst of names) expect(grants(policy, src, dst, 22), `${src} -> ${dst}`).toBe(true)
    expect(grants(policy, 'panda', '10.0.0.0/24', 22)).toBe(true)
    expect(grants(policy, 'panda', 'autogroup:internet', 22)).toBe(true)
    expect(grants(policy, 'clanker-001', 'tag:svc-redis', 6379)).toBe(false)
    expect(policy.tests).toContainEqual({ src: 'panda', accept: ['clanker-001:22', 'tag:ci:22', 'gate:22'] })
    expect(remove(text, added)).toBe(original)
    expect(narrowWideOpen(text, { devices: all, tags })).toEqual({ text, added: [] })
  })

  test('in any order with services, it is what it was', () => {
    for (const file of ['wide-open-acls', 'wide-open-grants']) {
      const original = read(file)
      const before = addAll(original)
      const narrowed = narrowWideOpen(before.text, { devices: all, tags })
      // Now the deny tests hold.
      const after = addAll(narrowed.text)
      expect(parse(after.text).tests).toContainEqual({ src: 'clanker-001', deny: ['tag:svc-redis:6379'] })
      for (const order of orders([narrowed.added, ...Object.values(after.added)]))
        expect(order.reduce((now, pieces) => remove(now, pieces), after.text)).toBe(original)
    }
  })
})

/** What a user may do to any of the files, by name of a number: each leaves a file that can be read. */
const edits: Array<(text: string, number: number) => string> = [
  (text, number) =>
    `${text.startsWith('\uFEFF') ? '\uFEFF' : ''}// ${number}\n${text.replace(/^\uFEFF/, '')}`,
  (text, number) => `${text}\n/* ${number} */`,
  (text, number) =>
    behindBracket(text, `{"src": ["u${number}@example.com"], "dst": ["tag:u"], "ip": ["1"]},`),
  (text, number) => behindBracket(text, ` // ${number}, {[\n`),
  (text, number) => behindBracket(text, ` /* ${number} ]} */`),
  (text) => text.replaceAll('joel@example.com', 'j@example.com'),
]

function behindBracket(text: string, inserted: string): string {
  const policy = parsePolicy(text)
  const at = ((sectionOf(policy, 'grants') ?? sectionOf(policy, 'acls'))?.offset ?? 0) + 1
  return text.slice(0, at) + inserted + text.slice(at)
}

type Plain = {
  tagowners?: Record<string, string[]>
  hosts?: Record<string, string>
  tests?: unknown[]
  grants?: Array<Record<string, string[]>>
  acls?: Array<Record<string, string[]>>
}
const lowered = (policy: object): Plain =>
  Object.fromEntries(Object.entries(policy).map(([key, value]) => [key.toLowerCase(), value]))

/** A second, simpler reading of the rules than the one under test. */
function grants({ grants = [], acls = [] }: Plain, src: string, dst: string, port: number): boolean {
  const has = (list: string[] | undefined, item: string) => Boolean(list?.includes(item))
  const spans = (ip: string) => {
    const [, from, to] = /^(\d+)-(\d+)$/.exec(ip) ?? []
    return ip === `tcp:${port}` || ip === '*' || (Number(from) <= port && port <= Number(to))
  }
  return (
    grants.some((each) => has(each.src, src) && has(each.dst, dst) && each.ip?.some(spans)) ||
    acls.some((each) => {
      const targets = each.dst ?? each.Ports
      return has(each.src ?? each.Users, src) && (has(targets, `${dst}:${port}`) || has(targets, `${dst}:*`))
    })
  )
}

function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32
    return state / 2 ** 32
  }
}
