import { createHash } from 'node:crypto'
import { OnehopError } from '../errors.ts'
import {
  findUpstreams,
  isBrace,
  type SiteBlock,
  sameSite,
  sameUpstream,
  siteBlocks,
  whereabouts,
} from './caddyfile.ts'
import { type Token, tokenize } from './caddyfile-lexer.ts'

/**
 * What the route of `site` to `upstream` is in this text: the whole site block where nothing else in it answers, else its
 * `reverse_proxy` directives. The comments above stay: they may be about more.
 *
 * @throws OnehopError caddy-route-not-found, caddy-removal-refused with the line
 */
export function findRoute(text: string, named: Named): RouteRemoval {
  const { block, whole, parts } = locate(text, named)
  const { file, site, upstream } = named
  return {
    file,
    site,
    sites: block.sites,
    upstream,
    whole,
    parts: parts.map(({ start: _, ...part }) => part),
  }
}

/**
 * The text without the route. Its lines make way for one comment line each, by which `restoreRoute` finds the place
 * again, whatever else was removed, put back or edited meanwhile. A route that is out already stays out.
 *
 * @throws OnehopError changed-by-others, and what findRoute throws
 */
export function removeRoute(text: string, route: RouteRemoval): string {
  if (isRemoved(text, route)) return text
  return partsAsWritten(text, route).reduceRight((rest, { start, text: lines, marker }) => {
    const indent = /^[ \t]*/.exec(lines)?.[0] ?? ''
    return rest.slice(0, start) + indent + marker + rest.slice(start + lines.length)
  }, text)
}

/** The text with the route's own bytes back in their place. @throws OnehopError caddy-place-gone, changed-by-others */
export function restoreRoute(text: string, route: RouteRemoval): string {
  const { file, site, parts } = route
  const gone = parts.find(({ marker }) => !markerLine(text, marker))
  if (gone && parts.every(({ marker }) => !markerLine(text, marker)) && isThere(text, route)) return text
  if (gone) throw new OnehopError('caddy-place-gone', { file, site, marker: gone.marker })
  return parts.reduce((rest, part) => {
    const place = markerLine(rest, part.marker)
    return place ? rest.slice(0, place.start) + part.text + rest.slice(place.end) : rest
  }, text)
}

/** Whether all of a route's parts are out of the text. */
export const isRemoved = (text: string, { parts }: RouteRemoval) =>
  parts.every(({ marker }) => markerLine(text, marker) !== undefined)

/** Whether a route stands in the text again, in whatever words, and leads to `upstream`. */
export const isBackAt = (text: string, { site, parts }: RouteRemoval, upstream: string) =>
  parts.every(({ marker }) => markerLine(text, marker) === undefined) &&
  findUpstreams(text, { site, upstream }).length > 0

/** A route as bytes of the file: `text` is whole lines (without the last line's end), `marker` the comment in their place. */
export type RouteRemoval = {
  file: string
  site: string
  /** All addresses of the block. */
  sites: string[]
  upstream: string
  whole: boolean
  parts: Array<{ line: number; text: string; marker: string }>
}
type Named = { file: string; site: string; upstream: string }

const ownMarker = '# onehop: the route of '

/** The route's parts in a text that has them, written as they were. @throws OnehopError changed-by-others */
function partsAsWritten(text: string, route: RouteRemoval) {
  const { parts } = locate(text, route)
  const alike =
    parts.length === route.parts.length && parts.every(({ text: lines }, i) => lines === route.parts[i]?.text)
  if (alike) return parts
  const found = parts.map(({ text: lines }) => lines).join('\n')
  throw new OnehopError('changed-by-others', { what: `the route of ${route.site} in ${route.file}`, found })
}

function isThere(text: string, route: RouteRemoval): boolean {
  try {
    return partsAsWritten(text, route).length > 0
  } catch {
    return false
  }
}

function locate(text: string, { file, site, upstream }: Named) {
  const refused = (line: number, message: string) =>
    new OnehopError('caddy-removal-refused', { file, site, line, message })
  const tokens = tokenize(text)
  const [block, twice] = siteBlocks(tokens).filter(({ sites }) => sites.some((each) => sameSite(each, site)))
  const found = findUpstreams(text, { site, upstream })
  if (!block || found.length === 0)
    throw new OnehopError('caddy-route-not-found', { file, site, upstream, where: whereabouts(text, site) })
  if (twice) throw refused(twice.whole[0]?.line ?? 0, 'another block has the same address')

  const statements = statementsOf(block.body)
  const proxies = outermost(statements, 'reverse_proxy').filter(({ tokens: own }) =>
    found.some(({ start }) => covers(own, start)),
  )
  const others = findUpstreams(text, { site }).filter((each) => !sameUpstream(each.upstream, upstream))
  const shared = others.find(({ start }) => proxies.some((each) => covers(each.tokens, start)))
  if (shared) throw refused(shared.line, `its reverse_proxy also goes to ${shared.upstream}`)

  // Where another route was taken out of this block, its place must stay in the file.
  const ours = text.slice(block.whole[0]?.start, block.whole.at(-1)?.end).includes(ownMarker)
  const whole = !ours && statements.every(isShell({ proxies, snippets: snippetsOf(tokens) }))
  const parts = (whole ? [block.whole] : proxies.map((each) => each.tokens)).map((range, index) => {
    const lines = linesOf(text, tokens, range, refused)
    const id = createHash('sha256').update(`${site} ${index} ${lines.text}`).digest('hex').slice(0, 8)
    return { ...lines, marker: `${ownMarker}${site} was here (${id})` }
  })
  return { block, whole, parts }
}

/** A directive with its block; `tokens` are all of it. */
type Statement = { name: string; tokens: Token[]; body: Statement[] }

/** As Caddy's parser has it: a directive begins on a new line, or behind a brace. */
function statementsOf(tokens: Token[]): Statement[] {
  const statements: Statement[] = []
  let at = 0
  while (at < tokens.length) {
    const from = at
    at++
    while (at < tokens.length && tokens[at]?.opensLine === false && !isBrace(tokens[at], '{')) at++
    let body: Statement[] = []
    if (isBrace(tokens[at], '{')) {
      const open = at
      let depth = 0
      do {
        if (isBrace(tokens[at], '{')) depth++
        if (isBrace(tokens[at], '}')) depth--
        at++
      } while (depth > 0 && at < tokens.length)
      body = statementsOf(tokens.slice(open + 1, at - 1))
    }
    statements.push({ name: tokens[from]?.text ?? '', tokens: tokens.slice(from, at), body })
  }
  return statements
}

/** The directives of that name, at any depth, but not within one another. */
const outermost = (statements: Statement[], name: string): Statement[] =>
  statements.flatMap((each) => (each.name === name ? [each] : outermost(each.body, name)))

/** The snippets of this file, by name. */
function snippetsOf(tokens: Token[]): Map<string, Statement[]> {
  const named = statementsOf(tokens).flatMap(({ name, body }) => {
    const snippet = /^\((.+)\)$/.exec(name)?.[1]
    return snippet === undefined ? [] : [[snippet, body] as const]
  })
  return new Map(named)
}

const wrappers = new Set(['handle', 'handle_errors', 'handle_path', 'route'])
/** Directives that give no answer of their own: a site of only these would be an empty shell. */
const plain = new Set([
  ...['basic_auth', 'basicauth', 'bind', 'encode', 'fs', 'header', 'log', 'log_append'],
  ...[
    'log_name',
    'log_skip',
    'map',
    'method',
    'request_body',
    'request_header',
    'rewrite',
    'root',
    'skip_log',
  ],
  ...['tls', 'tracing', 'try_files', 'uri', 'vars'],
])

/** Whether a directive would answer nothing once the proxies are gone. A file that is imported is not looked into. */
function isShell({ proxies, snippets }: { proxies: Statement[]; snippets: Map<string, Statement[]> }) {
  const shell = (each: Statement): boolean => {
    if (proxies.includes(each)) return true
    if (each.name === 'import') return snippets.get(each.tokens[1]?.text ?? '')?.every(shell) ?? false
    return wrappers.has(each.name)
      ? each.body.every(shell)
      : each.name.startsWith('@') || plain.has(each.name)
  }
  return shell
}

const covers = (tokens: Token[], start: number) =>
  tokens.some((token) => start >= token.start && start < token.end)

/** The lines that these tokens fill; anything else on them, but a comment behind, is refused. */
function linesOf(
  text: string,
  tokens: Token[],
  range: SiteBlock['whole'],
  refused: (line: number, message: string) => OnehopError,
): { text: string; line: number; start: number } {
  const [first, last] = [range[0], range.at(-1)]
  if (!first || !last) throw refused(0, 'it is empty')
  const following = tokens[tokens.indexOf(last) + 1]
  const begin = Math.max(text.lastIndexOf('\n', first.start - 1) + 1, text.startsWith('\ufeff') ? 1 : 0)
  if (!first.opensLine || text.slice(begin, first.start).trim() !== '')
    throw refused(first.line, 'it shares its first line with something else')
  if (following && !following.opensLine)
    throw refused(following.line, 'something else begins on its last line, or its last line goes on')
  const feed = text.indexOf('\n', last.end)
  const lineEnd = feed === -1 ? text.length : feed
  const end = text[lineEnd - 1] === '\r' && feed !== -1 ? lineEnd - 1 : lineEnd
  return { text: text.slice(begin, end), line: first.line, start: begin }
}

/** The marker's line, however it was indented since. */
function markerLine(text: string, marker: string): { start: number; end: number } | undefined {
  const at = text.indexOf(marker)
  if (at === -1) return undefined
  const start = Math.max(text.lastIndexOf('\n', at - 1) + 1, text.startsWith('\ufeff') ? 1 : 0)
  return text.slice(start, at).trim() === '' ? { start, end: at + marker.length } : undefined
}
