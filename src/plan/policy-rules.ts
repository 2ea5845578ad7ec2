import { type Entry, entriesIn, type Policy } from './policy-text.ts'
import { groupBy, remember } from './remember.ts'

/** Every rule of `acls` and `grants` in one shape. What only an application may use (`app` without `ip`) reaches nothing here. */
export const rulesOf = remember((policy: Policy): Rule[] =>
  (['acls', 'grants'] as const).flatMap((section) =>
    entriesIn(policy, [section]).map((entry) => ({ ...ruleOf(section, entry.value), section, entry })),
  ),
)

/**
 * The rules that may be about a tag, in their order: those that name it, and those whose targets are not plainly other tags.
 * No other rule covers it or might reach it.
 */
export const rulesAbout = (policy: Policy, tag: string): Rule[] => {
  const { general, byTag } = targetsOf(policy)
  return [...general, ...(byTag.get(tag) ?? [])].sort((a, b) => a.at - b.at).map(({ rule }) => rule)
}

const targetsOf = remember((policy: Policy) => {
  // A host alias may be called anything, also like a tag.
  const isOneTag = (target: string) => target.startsWith('tag:') && !Object.hasOwn(hostsOf(policy), target)
  const all = rulesOf(policy).map((rule, at) => ({
    ...{ rule, at },
    targets: [...new Set(rule.reaches.map(({ target }) => target))],
  }))
  const named = all.filter(({ targets }) => targets.every(isOneTag))
  const byTag = groupBy(
    named.flatMap(({ targets, ...each }) => targets.map((tag) => ({ tag, ...each }))),
    ({ tag }) => tag,
  )
  return { general: all.filter(({ targets }) => !targets.every(isOneTag)), byTag }
})

/** The addresses of the file's host aliases. */
export const hostsOf = remember(
  (policy: Policy): Hosts =>
    Object.fromEntries(entriesIn(policy, ['hosts']).map(({ key, value }) => [key ?? '', String(value)])),
)

/** A rule as written, read. `users` and `ports` are what `src` and `dst` of acls were once called. */
export function ruleOf(section: 'acls' | 'grants', value: unknown): Reach {
  const dst = section === 'grants' ? listOf(value, 'dst') : []
  return {
    sources: listOf(value, 'src', 'users'),
    conditional: ['srcPosture', 'via'].some((name) => fieldOf(value, name) !== undefined),
    reaches:
      section === 'grants'
        ? listOf(value, 'ip').flatMap((ip) => {
            const [, proto = '', ports = ''] = /^(?:([^:]*):)?(.*)$/.exec(ip) ?? []
            return dst.map((target) => ({ target, ports, proto }))
          })
        : listOf(value, 'dst', 'ports').map((each) => {
            const colon = each.lastIndexOf(':')
            const proto = String(fieldOf(value, 'proto') ?? '')
            return { target: each.slice(0, colon), ports: each.slice(colon + 1), proto }
          }),
  }
}

/** Whether a rule lets everything reach everything, on all ports. */
export const isWideOpen = ({ sources, reaches, conditional }: Reach) =>
  !conditional &&
  sources.includes('*') &&
  reaches.some(({ target, ports, proto }) => target === '*' && ports === '*' && proto === '')

/**
 * Whether a rule is meant for exactly this: it names the tag. A `*` -> `*` rule does not count, since the access must stay
 * when that rule goes.
 */
export const covers = (rule: Reach, source: string, tag: string, port: number) =>
  !rule.conditional &&
  (rule.sources.includes(source) || rule.sources.includes('*')) &&
  rule.reaches.some((each) => each.target === tag && isTcp(each.proto) && hasPort(each.ports, port))

/**
 * Whether a rule might let this source reach the tag: true in all cases of doubt (who is in a group is not in the file),
 * because a test that says otherwise would keep the whole policy from being saved.
 */
export const mightReach = (rule: Reach, source: Who, tag: string, port: number, hosts: Hosts) =>
  rule.sources.some((each) => mightBe(each, source, hosts)) &&
  mightReachDevice(rule, { name: tag, addresses: [], tags: [tag] }, port, hosts)

/** Whether a rule might let anybody reach this device, at this port. */
export const mightReachDevice = (rule: Reach, device: Who, port: number, hosts: Hosts) =>
  rule.reaches.some(
    ({ target, ports, proto }) => isTcp(proto) && hasPort(ports, port) && mightBe(target, device, hosts),
  )

/** Field of an object in any case, as Tailscale's parser reads it. */
export function fieldOf(value: unknown, ...names: string[]): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  const wanted = names.map((name) => name.toLowerCase())
  return Object.entries(value).find(([key]) => wanted.includes(key.toLowerCase()))?.[1]
}

/** The strings of such a field: none, one or an array. */
export const listOf = (value: unknown, ...names: string[]): string[] =>
  [fieldOf(value, ...names)].flat().filter((each) => typeof each === 'string')

export type Reach = {
  sources: string[]
  reaches: Array<{ target: string; ports: string; proto: string }>
  conditional: boolean
}
export type Rule = Reach & { section: 'acls' | 'grants'; entry: Entry }
export type Who = { name: string; addresses: string[]; tags: string[] }
export type Hosts = Record<string, string>

const isTcp = (proto: string) => ['', 'tcp', '6', '*'].includes(proto)

const hasPort = (ports: string, port: number) =>
  ports.split(',').some((each) => {
    const [from, to = from] = each.trim().split('-').map(Number)
    return each.trim() === '*' || (from !== undefined && to !== undefined && from <= port && port <= to)
  })

function mightBe(selector: string, { name, addresses, tags }: Who, hosts: Hosts): boolean {
  const address = hosts[selector] ?? selector
  if (selector === name || tags.includes(selector) || addresses.includes(address)) return true
  if (address.includes('/')) return overlapsTailnet(address)
  if (selector === '*' || /^(ipset|svc):/.test(selector)) return true
  if (selector.startsWith('tag:')) return false
  // A tagged device belongs to no user any more.
  if (tags.length > 0) return /^autogroup:(tagged|danger-all)$/.test(selector)
  return selector.includes('@') || /^(group|autogroup):/.test(selector)
}

/** Whether a range may hold a device: their IPv4 addresses are in 100.64.0.0/10. Of IPv6 it is not asked, so it may. */
function overlapsTailnet(range: string): boolean {
  const [base = '', bits = ''] = range.split('/')
  const bytes = base.split('.').map(Number)
  if (bytes.length !== 4) return true
  const shared = 2 ** (32 - Math.min(Number(bits), 10))
  const number = (of: number[]) => of.reduce((sum, byte) => sum * 256 + byte, 0)
  return Math.floor(number(bytes) / shared) === Math.floor(number([100, 64, 0, 0]) / shared)
}
