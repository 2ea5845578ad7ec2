import { type Node, type ParseError, parseTree, printParseErrorCode, visit } from 'jsonc-parser'
import { z } from 'zod'
import { OnehopError } from '../errors.ts'
import { remember } from './remember.ts'

/**
 * A policy file (HuJSON: JSON with comments and trailing commas) as text and tree. Sections are found in any case, as
 * Tailscale's own parser finds them.
 *
 * @throws OnehopError policy-unreadable, with the line
 */
export function parsePolicy(text: string): Policy {
  const refuse = (offset: number, message: string): never => {
    throw new OnehopError('policy-unreadable', { line: lineAt(text, offset), message })
  }
  // HuJSON ends a line comment at \n only, jsonc-parser at \r too: they would not read the same file.
  const loneReturn = text.search(/\r(?!\n)/)
  if (loneReturn >= 0) refuse(loneReturn, 'a carriage return without a line feed')
  const errors: ParseError[] = []
  // jsonc-parser knows no byte order mark; a space keeps every offset.
  const root = parseTree(text.replace(/^\uFEFF/, ' '), errors, { allowTrailingComma: true })
  const [broken] = errors
  if (broken) refuse(broken.offset, wordsOf(broken))
  if (root?.type !== 'object') return refuse(root?.offset ?? 0, 'expected an object')
  const policy = { text, root }
  refuseDoubles(root, (key) => key.toLowerCase())
  for (const [name, { type, items }] of Object.entries(sections)) {
    const section = sectionOf(policy, name)
    if (!section) continue
    if (section.type !== type)
      refuse(section.offset, `expected ${name} to be an ${type}, found ${section.type}`)
    if (type === 'object') refuseDoubles(section)
    for (const child of section.children ?? []) {
      const item = type === 'object' ? child.children?.[1] : child
      if (item && item.type !== items) refuse(item.offset, `expected ${items} in ${name}, found ${item.type}`)
    }
  }
  return policy

  function refuseDoubles(object: Node, fold = (key: string) => key) {
    const seen = new Set<string>()
    for (const { offset, children } of object.children ?? []) {
      const key = String(children?.[0]?.value)
      if (seen.has(fold(key))) refuse(offset, `"${key}" stands there twice`)
      seen.add(fold(key))
    }
  }
}

/** A section's array or object, if the file has it. */
export const sectionOf = ({ root }: Policy, name: string): Node | undefined =>
  root.children?.find(({ children }) => String(children?.[0]?.value).toLowerCase() === name.toLowerCase())
    ?.children?.[1]

/** The entries of a section (`['grants']`), of an array in it (`['tagOwners', 'tag:x']`), or all sections (`[]`). */
export function entriesIn(policy: Policy, at: string[]): Entry[] {
  const places = placesOf(policy)
  const place = JSON.stringify(at)
  const known = places.get(place)
  if (known) return known
  const entries = readEntries(policy, at)
  places.set(place, entries)
  return entries
}

/** The entry of a section of keys. */
export const entryAt = (policy: Policy, section: string, key: string): Entry | undefined =>
  keysOf(policy)(section).get(key)

/** What was read of a policy already: all services of a plan ask for the same places. */
const placesOf = remember((_: Policy) => new Map<string, Entry[]>())

const keysOf = remember((policy: Policy) => {
  const sections = new Map<string, Map<string, Entry>>()
  return (section: string) => {
    const known = sections.get(section)
    if (known) return known
    const byKey = new Map(entriesIn(policy, [section]).map((entry) => [entry.key ?? '', entry]))
    sections.set(section, byKey)
    return byKey
  }
})

function readEntries(policy: Policy, at: string[]): Entry[] {
  const line = linesOf(policy)
  return (containerOf(policy, at)?.children ?? []).map((node) => {
    const [key, inner] = node.type === 'property' ? (node.children ?? []) : []
    const valueNode = inner ?? node
    const end = valueNode.offset + valueNode.length
    marker.lastIndex = end
    const marked = marker.exec(policy.text)
    return {
      ...(key && { key: String(key.value) }),
      ...(marked && { mark: marked[2] ?? '', tight: marked[1] === '' }),
      value: plain(valueNode),
      line: line(node.offset),
      start: node.offset,
      end: marked ? marker.lastIndex : end,
      source: policy.text.slice(node.offset, end),
      node: valueNode,
    }
  })
}

/**
 * The text with one entry more, as a piece of its own: its own line right after the opening bracket (or, where all stands
 * on one line, right after it), its own comma, and a mark. The mark is a block comment, so that the piece means the same
 * whatever comes to stand behind it, and `cutEntry` gives back the very bytes in any order. A missing section is made.
 */
export function insertEntry(text: string, { at, key, value, mark }: Piece): string {
  const body = entryText({ value, ...(key !== undefined && { key }) })
  const policy = parsePolicy(text)
  const container = containerOf(policy, at)
  if (container) return insertInto(policy, container, body, mark)
  const section = at[0] ?? ''
  const isObject = sections[section]?.type === 'object'
  const gap = isBroken(policy.root, text) ? `${lineEnd(text)}${indentIn(policy, policy.root)}` : ''
  const made = insertInto(policy, policy.root, `"${section}": ${isObject ? `{${gap}}` : `[${gap}]`}`, '')
  return insertEntry(made, { at, value, mark, ...(key !== undefined && { key }) })
}

/** The text without an entry of ours: exactly the piece that was inserted. */
export function cutEntry(text: string, { start, end, tight }: Entry): string {
  if (tight) return text.slice(0, start) + text.slice(text[end] === ' ' ? end + 1 : end)
  const before = text.slice(0, start)
  const lead = /\r?\n[ \t]*$/.exec(before)?.[0] ?? ''
  // Somebody has moved things: without this line break, what follows would end up in their comment.
  const isNeeded =
    isInLineComment(text, before.length - lead.length - 1) && /^[ \t]*[^\s]/.test(text.slice(end))
  return before.slice(0, isNeeded ? start : start - lead.length) + text.slice(end)
}

/** Two slashes stand in a URL or a block comment as well: only the parser knows. */
function isInLineComment(text: string, offset: number): boolean {
  const lineStart = text.lastIndexOf('\n', offset) + 1
  if (!text.slice(lineStart, offset + 1).includes('//')) return false
  let found = false
  visit(text.replace(/^\uFEFF/, ' '), {
    onComment(start, length) {
      found ||= start <= offset && offset < start + length && text.startsWith('//', start)
    },
  })
  return found
}

/** The text with `value` in place of an entry; `entry.source` is what to put back. */
export const replaceEntry = (text: string, { start, source }: Entry, { value, mark }: Piece): string =>
  `${text.slice(0, start)}${oneLine(value)} ${comment(mark)}${text.slice(start + source.length)}`

export type Policy = { text: string; root: Node }

/** One entry as it stands in the file. `mark` is there only on ours; `end` is behind it. `tight`: it has no line of its own. */
export type Entry = {
  key?: string
  mark?: string
  tight?: boolean
  value: unknown
  line: number
  start: number
  end: number
  source: string
  node: Node
}

/**
 * Something that onehop inserted, as plain JSON for the journal. `mark` is the service, `*` for what replaced a `*` rule,
 * or empty for a host that several may need; `was` is the text that it replaced.
 */
export type Piece = z.infer<typeof pieceSchema>
export const pieceSchema = z.object({
  at: z.array(z.string()),
  key: z.string().optional(),
  value: z.unknown(),
  mark: z.string(),
  was: z.string().optional(),
})

const sections: Record<string, { type: Node['type']; items: Node['type'] }> = {
  hosts: { type: 'object', items: 'string' },
  tagOwners: { type: 'object', items: 'array' },
  acls: { type: 'array', items: 'object' },
  grants: { type: 'array', items: 'object' },
  tests: { type: 'array', items: 'object' },
}

/** Who may use each tag. */
export const tagOwnersOf = remember(
  (policy: Policy) =>
    new Map(
      entriesIn(policy, ['tagOwners']).map(({ key = '', value }) => [
        key,
        Array.isArray(value) ? value.map(String) : [],
      ]),
    ),
)

/** Without its spaces it says that the piece has no line of its own: what surrounds it may be changed by others. */
const comment = (mark: string, gap = ' ') => `/*${gap}onehop${mark === '' ? '' : `: ${mark}`}${gap}*/`
const marker = /[ \t]*,?[ \t]*\/\*( ?)onehop(?:: ([a-z0-9-]+|\*))?\1\*\//y

function containerOf(policy: Policy, [section, key]: string[]): Node | undefined {
  if (section === undefined) return policy.root
  return key === undefined ? sectionOf(policy, section) : entryAt(policy, section, key)?.node
}

function insertInto(policy: Policy, container: Node, body: string, mark: string): string {
  const { text, root } = policy
  const open = container.offset + 1
  const inner = text.slice(open, container.offset + container.length - 1)
  if (!inner.includes('\n') && (inner.trim() !== '' || !isBroken(root, text)))
    return `${text.slice(0, open)}${body}, ${comment(mark, '')} ${text.slice(open)}`
  // A comment behind the bracket belongs to the bracket.
  const rest = /^[ \t]*(?:\/\/[^\r\n]*)?(?=\r?\n)/.exec(inner)?.[0].length ?? 0
  const line = `${lineEnd(text)}${indentIn(policy, container)}${body}, ${comment(mark)}`
  return text.slice(0, open + rest) + line + text.slice(open + rest)
}

/** The file's own indent for entries of a container: that of its first entry, or one step more than its line. */
function indentIn({ text, root }: Policy, container: Node): string {
  const ownLine = (node: Node | undefined) => node && /\n([ \t]*)$/.exec(text.slice(0, node.offset))?.[1]
  const lineIndent = (offset: number) => /(?:^|\n)([ \t]*)[^\n]*$/.exec(text.slice(0, offset))?.[1] ?? ''
  const base = lineIndent(root.offset)
  const step = ownLine(root.children?.[0])?.slice(base.length) || '  '
  return ownLine(container.children?.[0]) ?? lineIndent(container.offset) + step
}

const isBroken = (node: Node, text: string) =>
  text.slice(node.offset, node.offset + node.length).includes('\n')
const lineEnd = (text: string) => /\r?\n/.exec(text)?.[0] ?? '\n'
const lineAt = (text: string, offset: number) => text.slice(0, offset).split('\n').length

/** The line of an offset, when many are asked for. */
const linesOf = remember(({ text }: Policy) => {
  const ends: number[] = []
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) ends.push(at)
  return (offset: number) => {
    let [low, high] = [0, ends.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ends[middle] ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return low + 1
  }
})

const wordsOf = ({ error }: ParseError) =>
  printParseErrorCode(error)
    .replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter}`)
    .toLowerCase()

/** jsonc-parser's own getNodeValue makes objects without a prototype, which equal no others. */
function plain(node: Node): unknown {
  if (node.type === 'array') return (node.children ?? []).map(plain)
  if (node.type !== 'object') return node.value
  return Object.fromEntries(
    (node.children ?? []).map(({ children: [key, value] = [] }) => [key?.value, value && plain(value)]),
  )
}

/** An entry as it is written into the policy: `{"src": ["panda"], ...}`, or with its key `"tag:x": ["tag:owner"]`. */
export const entryText = ({ key, value }: Pick<Piece, 'key' | 'value'>): string =>
  key === undefined ? oneLine(value) : `${JSON.stringify(key)}: ${oneLine(value)}`

/** JSON on one line, spaced as people write it. */
function oneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, each]) => `${JSON.stringify(key)}: ${oneLine(each)}`)
    .join(', ')}}`
}
