import { createHash } from 'node:crypto'
import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser'
import type { TailnetDevice } from './cluster-state.ts'

/**
 * Tailscale's judge of a policy, for what onehop and its examples write: `hosts`, `groups`, `tagOwners`, `acls`, `grants` and
 * `tests`, with people, groups, tags, hosts, addresses, ranges and the autogroups `member`, `tagged` and `self`. It shares no
 * code with src/plan, which it judges.
 *
 * @throws PolicyRefused for HuJSON that is none, a name that the file does not define, and a test that fails
 */
export function judgePolicy(text: string, devices: Iterable<TailnetDevice>): void {
  const policy = readPolicy(text)
  for (const [tag, owners] of Object.entries(policy.tagOwners))
    for (const name of [tag, ...owners]) expectKnown(policy, name)
  for (const { sources, targets } of policy.rules)
    for (const name of [...sources, ...targets.map((each) => each.name)]) expectKnown(policy, name)
  const all = [...devices]
  const failed = policy.tests.flatMap(({ source, accept, deny }) => {
    expectKnown(policy, source)
    const from = partyOf(policy, source, all)
    const said = (target: string) => {
      const { name, port } = targetOf(target)
      expectKnown(policy, name)
      return mayPass(policy, from, partyOf(policy, name, all), Number(port)) ? 'Accept' : 'Drop'
    }
    const errors = [
      ...accept.map((target) => ({ target, want: 'Accept' })),
      ...deny.map((target) => ({ target, want: 'Drop' })),
    ].flatMap(({ target, want }) => {
      const got = said(target)
      return got === want ? [] : [`address ${JSON.stringify(target)}: want: ${want}, got: ${got}`]
    })
    return errors.length > 0 ? [{ user: source, errors }] : []
  })
  if (failed.length > 0) throw new PolicyRefused('test(s) failed', failed)
}

/** Whether a policy lets one device open a TCP connection to a port of another. */
export const mayReach = (text: string, from: TailnetDevice, to: TailnetDevice, port: number): boolean =>
  mayPass(readPolicy(text), from, to, port)

/** Whether a device knows of another at all: one of them may reach the other at some port. */
export function isPeer(text: string, one: TailnetDevice, other: TailnetDevice): boolean {
  const policy = readPolicy(text)
  return mayPass(policy, one, other) || mayPass(policy, other, one)
}

/** Who may give a tag to a device; nothing for a tag that the policy does not define. */
export const ownersOf = (text: string, tag: string): string[] | undefined => readPolicy(text).tagOwners[tag]

/** Of the text, as the API makes it: the same text has the same one again. */
export const etagOf = (text: string): string => `"${createHash('sha256').update(text).digest('hex')}"`

/** `data` as the API gives it with a failing test. */
export class PolicyRefused extends Error {
  readonly data: Array<{ user: string; errors: string[] }>
  constructor(message: string, data: Array<{ user: string; errors: string[] }> = []) {
    super(message)
    this.data = data
  }
}

type Policy = {
  hosts: Record<string, string>
  groups: Record<string, string[]>
  tagOwners: Record<string, string[]>
  rules: Rule[]
  /** Without any section of rules everything is let through. */
  isOpen: boolean
  tests: Array<{ source: string; accept: string[]; deny: string[] }>
}
type Rule = { sources: string[]; targets: Array<{ name: string; ports: string; protocol: string }> }
/** A device, or what a test names: somebody, a tag or an address. */
type Party = Pick<TailnetDevice, 'tags'> & { address?: string; user?: string }

function readPolicy(text: string): Policy {
  const known = cache.get(text)
  if (known) return known
  const errors: ParseError[] = []
  const root: unknown = parse(text.replace(/^\uFEFF/, ' '), errors, { allowTrailingComma: true })
  const [broken] = errors
  if (broken) {
    const line = text.slice(0, broken.offset).split('\n').length
    throw new PolicyRefused(`line ${line}: ${printParseErrorCode(broken.error)}`)
  }
  if (!isObject(root)) throw new PolicyRefused('expected an object')
  const sections = Object.fromEntries(Object.entries(root).map(([key, value]) => [key.toLowerCase(), value]))
  const objects = (name: string) => (Array.isArray(sections[name]) ? sections[name] : []).filter(isObject)
  const lists = (name: string) =>
    Object.fromEntries(Object.entries(asObject(sections[name])).map(([key, value]) => [key, strings(value)]))
  const acls = objects('acls').map(
    (rule): Rule => ({
      sources: strings(rule.src ?? rule.users),
      targets: strings(rule.dst ?? rule.ports).map((target) => {
        const { name, port } = targetOf(target)
        return { name, ports: port, protocol: String(rule.proto ?? '') }
      }),
    }),
  )
  const grants = objects('grants').map(
    (rule): Rule => ({
      sources: strings(rule.src),
      targets: strings(rule.dst).flatMap((name) =>
        strings(rule.ip).map((ip) => {
          const [, protocol = '', ports = ''] = /^(?:([^:]*):)?(.*)$/.exec(ip) ?? []
          return { name, ports, protocol }
        }),
      ),
    }),
  )
  const policy: Policy = {
    hosts: Object.fromEntries(
      Object.entries(asObject(sections.hosts)).map(([key, value]) => [key, String(value)]),
    ),
    groups: lists('groups'),
    tagOwners: lists('tagowners'),
    rules: [...acls, ...grants],
    isOpen: sections.acls === undefined && sections.grants === undefined,
    tests: objects('tests').map((test) => ({
      source: String(test.src ?? test.user),
      accept: strings(test.accept ?? test.allow),
      deny: strings(test.deny),
    })),
  }
  if (cache.size > 100) cache.clear()
  cache.set(text, policy)
  return policy
}

/** Probes ask thousands of times about the same text. */
const cache = new Map<string, Policy>()

function expectKnown({ hosts, groups, tagOwners }: Policy, name: string): void {
  const isKnown =
    name === '*' ||
    name in hosts ||
    (name.startsWith('tag:') && name in tagOwners) ||
    (name.startsWith('group:') && name in groups) ||
    name.startsWith('autogroup:') ||
    (!/^\w+:/.test(name) && name.includes('@')) ||
    range.test(name)
  if (!isKnown) throw new PolicyRefused(`${name.startsWith('tag:') ? 'tag' : 'name'} not found: "${name}"`)
}

const range = /^(\d+\.\d+\.\d+\.\d+|[\da-f:]*:[\da-f:]*)(\/\d+)?$/i

/** Whether a rule lets `from` reach `to`, at that port or at any. */
function mayPass(policy: Policy, from: Party, to: Party, port?: number): boolean {
  const { rules, isOpen } = policy
  const isThere = ({ name, ports, protocol }: Rule['targets'][number]) =>
    ['', '*', 'tcp', '6'].includes(protocol) &&
    (port === undefined || hasPort(ports, port)) &&
    (name === 'autogroup:self' ? from.user !== undefined && to.user === from.user : isNamed(policy, name, to))
  return (
    isOpen ||
    rules.some(
      ({ sources, targets }) => sources.some((each) => isNamed(policy, each, from)) && targets.some(isThere),
    )
  )
}

/** Whether a name of the file is this party. A device with tags has no owner. */
function isNamed({ hosts, groups }: Policy, name: string, { address, tags, user }: Party): boolean {
  if (name === '*' || tags.includes(name)) return true
  if (name === 'autogroup:member') return user !== undefined
  if (name === 'autogroup:tagged') return tags.length > 0
  if (name.startsWith('group:')) return user !== undefined && (groups[name] ?? []).includes(user)
  if (user !== undefined && name === user) return true
  const [base = '', bits = '32'] = (hosts[name] ?? name).split('/')
  if (address === undefined || !/^[\d.]+$/.test(base)) return false
  const share = 2 ** (32 - Number(bits))
  return Math.floor(numberOf(base) / share) === Math.floor(numberOf(address) / share)
}

const numberOf = (address: string) => address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)

/** Whom a test means: by the address of a host the device that has it. */
function partyOf({ hosts }: Policy, name: string, devices: TailnetDevice[]): Party {
  if (name.startsWith('tag:')) return { tags: [name] }
  const address = hosts[name] ?? name
  if (!range.test(address)) return { tags: [], user: name }
  return devices.find((each) => each.address === address) ?? { tags: [], address }
}

function targetOf(target: string): { name: string; port: string } {
  const colon = target.lastIndexOf(':')
  return { name: target.slice(0, colon), port: target.slice(colon + 1) }
}

const hasPort = (ports: string, port: number) =>
  ports.split(',').some((each) => {
    const [from = 0, to = from] = each.trim().split('-').map(Number)
    return each.trim() === '*' || (from <= port && port <= to)
  })

const strings = (value: unknown): string[] => [value].flat().filter((each) => typeof each === 'string')
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const asObject = (value: unknown) => (isObject(value) ? value : {})
