import { isDeepStrictEqual } from 'node:util'
import type { Node } from 'jsonc-parser'
import { OnehopError } from '../errors.ts'
import type { Access, Source } from './policy-access.ts'
import { covers, fieldOf, hostsOf, listOf, mightReach, ruleOf, rulesAbout } from './policy-rules.ts'
import {
  cutEntry,
  type Entry,
  entriesIn,
  entryAt,
  insertEntry,
  type Piece,
  type Policy,
  parsePolicy,
  replaceEntry,
  sectionOf,
} from './policy-text.ts'
import { groupBy, remember } from './remember.ts'

/**
 * The policy with what one service needs: its tag, a rule for who may reach it, host aliases, tests. What the user has
 * already written stays theirs and is not doubled. Adding twice changes nothing the second time.
 *
 * `added` is all of ours that this service needs, whether inserted now or before, so that it is complete also when the
 * first answer was lost. `untested` says which deny tests were left out because another rule may let that source through.
 *
 * @throws OnehopError policy-unreadable, policy-without-rules, policy-machine-unknown, policy-host-differs,
 *   policy-changed-by-others
 */
export function addAccess(
  text: string,
  access: Access,
): { text: string; added: Piece[]; untested: Untested[] } {
  const judged = judgeAccess(parsePolicy(text), access)
  return { text: insertPieces(text, judged.added), ...judged }
}

/** What `addAccess` would do, without the edit: of a policy that was parsed once, for any number of services. @throws as it */
export function judgeAccess(policy: Policy, access: Access): { added: Piece[]; untested: Untested[] } {
  const { added, untested } = piecesFor(policy, access)
  const [stranger] = strangersIn(policy, added, access)
  if (stranger) throw changed(stranger)
  return { added, untested }
}

/**
 * The policy with what one service needs written anew, in place of whatever somebody has made of the entries with its
 * mark. `added` is what was recorded and what is new: an undo takes out both.
 *
 * @throws OnehopError as `addAccess`
 */
export function renewAccess(
  text: string,
  access: Access,
  recorded: Piece[],
): { text: string; added: Piece[] } {
  const { text: renewed, added } = addAccess(removeAccess(text, recorded, { force: true }).text, access)
  const isNew = (piece: Piece) => !recorded.some((each) => isDeepStrictEqual(each, piece))
  return { text: renewed, added: [...recorded, ...added.filter(isNew)] }
}

/**
 * What the policy lacks of what a service needs, and which entries with its mark are not what onehop would write.
 *
 * @throws OnehopError policy-without-rules, policy-machine-unknown, policy-host-differs
 */
export function lookAtAccess(policy: Policy, access: Access): { missing: Piece[]; strays: Entry[] } {
  const { added } = piecesFor(policy, access)
  return {
    missing: added.filter((piece) => !isThere(policy, piece)),
    strays: strangersIn(policy, added, access),
  }
}

/**
 * The policy without what was added, byte for byte as if it had never been. Compare-and-swap: an entry with our mark that
 * is not what was recorded is refused, unless forced (then it goes too); one that is gone counts as undone, and one whose
 * mark is gone is the user's. A host or tag that something else still names stays: without it the policy would be invalid.
 *
 * @throws OnehopError policy-unreadable, policy-changed-by-others
 */
export function removeAccess(
  text: string,
  added: Piece[],
  { force = false }: { force?: boolean } = {},
): { text: string } {
  const policy = parsePolicy(text)
  const strangers = strangersIn(policy, added)
  if (strangers[0] && !force) throw changed(strangers[0])
  // What somebody made of a rule that took another's place gives that place back to it.
  const replaced = added.filter(
    (piece) => piece.was !== undefined && !entriesIn(policy, piece.at).some((each) => isPiece(each, piece)),
  )
  // From the end, so that the places of the others hold.
  const isAsked = ({ key }: Entry) => added.some((piece) => piece.key !== undefined && piece.key === key)
  const cut = strangers
    .filter((entry) => !isAsked(entry))
    .toSorted((a, b) => b.start - a.start)
    .reduce((rest, entry) => {
      const isRule = fieldOf(entry.value, 'dst', 'ports') !== undefined
      const was = isRule ? replaced.pop()?.was : undefined
      return was === undefined
        ? cutEntry(rest, entry)
        : rest.slice(0, entry.start) + was + rest.slice(entry.end)
    }, text)
  // What is named goes after what names it.
  const ordered = added.toSorted((a, b) => Number(a.key !== undefined) - Number(b.key !== undefined))
  const rest = ordered.reduce((now, piece) => {
    const policy = parsePolicy(now)
    const entry = entriesIn(policy, piece.at).find(
      (each) =>
        isPiece(each, piece) ||
        // What somebody has made of a host or a tag of ours: only by force has it come this far.
        (piece.key !== undefined && each.key === piece.key && each.mark === piece.mark),
    )
    if (!entry || (piece.key !== undefined && isNamed(policy.root, piece.key, entry))) return now
    return piece.was === undefined
      ? cutEntry(now, entry)
      : now.slice(0, entry.start) + piece.was + now.slice(entry.end)
  }, cut)
  return { text: withoutEmptySections(rest) }
}

/** What `addAccess` would insert: into a text, or a policy that was parsed before. @throws OnehopError as `addAccess` */
export function missingPieces(of: string | Policy, access: Access): Piece[] {
  const { missing, strays } = lookAtAccess(typeof of === 'string' ? parsePolicy(of) : of, access)
  if (strays[0]) throw changed(strays[0])
  return missing
}

/** Whether a piece stands in the policy already. */
export function isThere(policy: Policy, piece: Piece): boolean {
  const [section = '', inner] = piece.at
  // By its key or its mark, whichever leads to few: a policy has more entries than a service has pieces.
  const alike =
    piece.key !== undefined && inner === undefined
      ? [entryAt(policy, section, piece.key)]
      : (markedBy(policy).get(piece.mark) ?? [])
          .filter(({ at }) => isDeepStrictEqual(at, piece.at))
          .map(({ entry }) => entry)
  return alike.some((each) => each && isPiece(each, piece))
}

/** The text with those pieces that are not in it yet. A piece with `was` takes the place of that text. */
export function insertPieces(text: string, pieces: Piece[]): string {
  // Each goes to the top of its section: the last one first, so that they read in order.
  return pieces.toReversed().reduce((now, piece) => {
    const entries = entriesIn(parsePolicy(now), piece.at)
    const old = entries.find(({ mark, source }) => mark === undefined && source === piece.was)
    if (piece.was !== undefined) return old ? replaceEntry(now, old, piece) : now
    return entries.some((each) => isPiece(each, piece)) ? now : insertEntry(now, piece)
  }, text)
}

/** The alias of a device in `hosts`. @throws OnehopError policy-machine-unknown, policy-host-differs */
export function hostPiece(policy: Policy, { name, addresses }: Source, service: string): Piece[] {
  const there = entryAt(policy, 'hosts', name)
  const address = addresses.find((each) => each.includes('.')) ?? addresses[0]
  if (!there) {
    if (!address) throw new OnehopError('policy-machine-unknown', { service, machine: name })
    return [{ at: ['hosts'], key: name, value: address, mark: '' }]
  }
  const found = String(there.value).replace(/\/(32|128)$/, '')
  if (address && !addresses.includes(found))
    throw new OnehopError('policy-host-differs', {
      machine: name,
      line: there.line,
      found,
      expected: address,
    })
  return there.mark === '' ? [{ at: ['hosts'], key: name, value: there.value, mark: '' }] : []
}

/** A deny test that was not written, and the rule that may let the source through. */
export type Untested = { src: string; target: string; rule: string }

function piecesFor(policy: Policy, access: Access): { added: Piece[]; untested: Untested[] } {
  const rules = rulePieces(policy, access)
  const { tests, untested } = testPieces(policy, access, rules)
  return {
    added: [...hostPieces(policy, access, tests), ...tagPieces(policy, access), ...rules, ...tests],
    untested,
  }
}

const isPiece = (entry: Entry, { key, value, mark }: Piece) =>
  entry.mark === mark && entry.key === key && isDeepStrictEqual(entry.value, value)

/** One rule for all who have none yet. Our own earlier rule may have been for fewer or for more. */
function rulePieces(policy: Policy, { service, tag, ports, sources }: Access): Piece[] {
  const rules = rulesAbout(policy, tag)
  const own = rules.filter(
    ({ section, entry, sources: src }) =>
      entry.mark === service &&
      src.every((each) => sources.some(({ name }) => name === each)) &&
      isDeepStrictEqual(entry.value, ruleFor(section, src, tag, ports)),
  )
  const pieces = own.map(({ section, entry }) => ({ at: [section], value: entry.value, mark: service }))
  const granted = rules.filter(({ entry }) => entry.mark === undefined).concat(own)
  const missing = sources
    .map(({ name }) => name)
    .filter((name) => !ports.every((port) => granted.some((rule) => covers(rule, name, tag, port))))
  if (missing.length === 0) return pieces
  const section = sectionOf(policy, 'grants') ? 'grants' : 'acls'
  // Without any rules everything is let through; the first rule would shut off all the rest of the tailnet.
  if (!sectionOf(policy, section)) throw new OnehopError('policy-without-rules')
  return [...pieces, { at: [section], value: ruleFor(section, missing, tag, ports), mark: service }]
}

const ruleFor = (section: 'acls' | 'grants', src: string[], tag: string, ports: number[]) =>
  section === 'grants'
    ? { src, dst: [tag], ip: ports.map((port) => `tcp:${port}`) }
    : { action: 'accept', src, dst: ports.map((port) => `${tag}:${port}`) }

/** Who is allowed is accepted; who is known and not allowed is denied, or, if all known are allowed, the next port is. */
function testPieces(policy: Policy, access: Access, rulesAdded: Piece[]) {
  const { service, tag, ports, sources, neighbours } = access
  const hosts = hostsOf(policy)
  const rules = [
    ...rulesAbout(policy, tag).map((rule) => ({ rule, text: rule.entry.source.replace(/\s+/g, ' ') })),
    ...rulesAdded.map(({ at, value }) => ({
      rule: ruleOf(at[0] === 'acls' ? 'acls' : 'grants', value),
      text: JSON.stringify(value),
    })),
  ]
  const theirs = testedIn(policy)
  const ours = (markedBy(policy).get(service) ?? []).filter(({ at }) => at[0] === 'tests')
  const says = (verdict: 'accept' | 'deny', src: string, targets: string[]) =>
    targets.every((target) => theirs.has(JSON.stringify([src, verdict, target])))
  const testable = sources.filter(({ name }) => isTestable(name))
  const accepts = testable.map(({ name }) => ({ src: name, accept: ports.map((port) => `${tag}:${port}`) }))
  const known = neighbours.filter(
    ({ name, addresses }) => addresses.length > 0 || name in hosts || name.startsWith('tag:'),
  )
  const [first] = testable
  const denied =
    known.length > 0
      ? known.flatMap((who) => ports.map((port) => ({ who, port })))
      : first
        ? [{ who: first, port: nextTo(ports) }]
        : []
  const untested: Untested[] = []
  const denies = denied.flatMap(({ who, port }) => {
    const target = `${tag}:${port}`
    const test = { src: who.name, deny: [target] }
    const isOurs = ours.some(({ entry }) => isDeepStrictEqual(entry.value, test))
    const open = rules.find(({ rule }) => mightReach(rule, who, tag, port, hosts))
    if (!open || isOurs) return [test]
    untested.push({ src: who.name, target, rule: open.text })
    return []
  })
  const tests = [
    ...accepts.filter(({ src, accept }) => !says('accept', src, accept)),
    ...denies.filter(({ src, deny }) => !says('deny', src, deny)),
  ].map((value): Piece => ({ at: ['tests'], value, mark: service }))
  return { tests, untested }
}

/** Tailscale tests people, groups, tags and hosts; nobody *is* an autogroup or a range. */
const isTestable = (name: string) => !/^(autogroup|ipset|svc):|[*/]/.test(name)

const nextTo = (ports: number[]) => {
  const last = Math.max(...ports)
  return last < 65535 ? last + 1 : Math.min(...ports) - 1
}

function hostPieces(policy: Policy, { service, sources, neighbours }: Access, tests: Piece[]): Piece[] {
  const tested = neighbours.filter(({ name }) => tests.some(({ value }) => fieldOf(value, 'src') === name))
  return [...sources, ...tested]
    .filter(({ machine, name }) => machine && !name.startsWith('tag:'))
    .flatMap((source) => hostPiece(policy, source, service))
}

function tagPieces(policy: Policy, { service, tag, owner }: Access): Piece[] {
  const there = entryAt(policy, 'tagOwners', tag)
  if (!there || there.mark === service)
    return [{ at: ['tagOwners'], key: tag, value: [owner], mark: service }]
  const owners = entriesIn(policy, ['tagOwners', tag])
  const isTheirs = owners.some(({ value, mark }) => value === owner && mark === undefined)
  return isTheirs ? [] : [{ at: ['tagOwners', tag], value: owner, mark: service }]
}

/** Whom the tests that are not ours accept or deny where. `user` and `allow` are what `src` and `accept` were once called. */
const testedIn = remember((policy: Policy) => {
  const theirs = entriesIn(policy, ['tests']).filter(
    ({ mark, value }) => mark === undefined && fieldOf(value, 'proto') === undefined,
  )
  const said = theirs.flatMap(({ value }) =>
    listOf(value, 'src', 'user').flatMap((src) => [
      ...listOf(value, 'accept', 'allow').map((target) => [src, 'accept', target]),
      ...listOf(value, 'deny').map((target) => [src, 'deny', target]),
    ]),
  )
  return new Set(said.map((each) => JSON.stringify(each)))
})

/** Our entries by their mark, and where each stands. */
const markedBy = remember((policy: Policy) => {
  const places = [
    ...['tagOwners', 'acls', 'grants', 'tests'].map((section) => [section]),
    ...entriesIn(policy, ['tagOwners']).map(({ key = '' }) => ['tagOwners', key]),
  ]
  const all = places.flatMap((at) => entriesIn(policy, at).map((entry) => ({ at, entry })))
  return groupBy(
    all.filter(({ entry }) => entry.mark !== undefined),
    ({ entry }) => entry.mark ?? '',
  )
})

/**
 * Entries with the mark of these pieces that are none of them. Of the hosts, whose mark is everybody's, only those of the
 * same name.
 */
function strangersIn(policy: Policy, pieces: Piece[], access?: Access): Entry[] {
  const mark = access?.service ?? pieces.find((each) => each.mark !== '')?.mark
  const marked = (mark === undefined ? [] : (markedBy(policy).get(mark) ?? [])).filter(
    ({ at, entry }) => !pieces.some((piece) => isDeepStrictEqual(piece.at, at) && isPiece(entry, piece)),
  )
  const hosts = pieces.flatMap((piece) => {
    const entry = piece.at[0] === 'hosts' ? entryAt(policy, 'hosts', piece.key ?? '') : undefined
    return entry?.mark === '' && !isPiece(entry, piece) ? [entry] : []
  })
  return [...marked.map(({ entry }) => entry), ...hosts]
}

const changed = ({ line, source }: Entry) =>
  new OnehopError('policy-changed-by-others', { line, found: source.replace(/\s+/g, ' ').slice(0, 200) })

/** Whether a host or tag is named anywhere but in its own entry. */
function isNamed(node: Node, name: string, own: Entry): boolean {
  if (node === own.node || node.offset === own.start) return false
  if (node.type === 'string') return node.value === name || String(node.value).startsWith(`${name}:`)
  return (node.children ?? []).some((child) => isNamed(child, name, own))
}

function withoutEmptySections(text: string): string {
  const empty = entriesIn(parsePolicy(text), []).find(
    ({ mark, node }) =>
      mark === '' && text.slice(node.offset + 1, node.offset + node.length - 1).trim() === '',
  )
  return empty ? withoutEmptySections(cutEntry(text, empty)) : text
}
