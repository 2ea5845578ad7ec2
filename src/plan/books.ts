import { OnehopError } from '../errors.ts'
import type { Entry } from '../journal-records.ts'
import { isClusterService, type Mesh } from './mesh.ts'
import { pathsOf } from './paths.ts'

/**
 * A text of the user's (such as NEIGHBORHOOD.md) with one block of ours in it: a table of the moved services, between
 * two comments. Every other byte stays. The block is appended where there is none, written anew where there is one, and
 * taken out without rows: then the bytes are those from before it was written. A file that was not there (`isThere`) is
 * noted in the marker, so that it can go again (`isMadeByUs`).
 *
 * @throws OnehopError books-broken, with the line of a marker that is doubled, alone or out of order
 */
export function writeBlock(text: string, rows: BookRow[], file = 'NEIGHBORHOOD.md', isThere = true): string {
  const there = findBlock(text, file)
  const eol = /\r?\n/.exec(text)?.[0] ?? '\n'
  if (!there && rows.length === 0) return text
  if (!there) {
    // What is put between the user's text and our block goes with it again: a missing line end is noted in the marker.
    const open = text === '' || text.endsWith('\n')
    const opening = !isThere ? beginNew : open ? begin : beginGlued
    return `${text}${open ? '' : eol}${blockOf(rows, { eol, opening })}${eol}`
  }
  const { start, end, opening } = there
  if (rows.length > 0) return text.slice(0, start) + blockOf(rows, { eol, opening }) + text.slice(end)
  const before = text.slice(0, start)
  return (
    (opening === beginGlued ? before.replace(/\r?\n$/, '') : before) + text.slice(end).replace(/^\r?\n/, '')
  )
}

/** Whether the file of this text begins with a block for which it was made. */
export const isMadeByUs = (text: string) => text.startsWith(beginNew)

/** The rows of the table: what is moved, by the journal. */
export function bookRows(mesh: Mesh, entries: Entry[]): BookRow[] {
  const byName = new Map(entries.map((each) => [each.service, each]))
  return mesh.services.filter(isClusterService).flatMap((service): BookRow[] => {
    const entry = byName.get(service.name)
    if (!entry || (entry.state !== 'moved' && entry.state !== 'retired')) return []
    const since = Object.values(entry.ended)
      .filter((each) => each.state === 'moved')
      .map((each) => each.at)
      .sort()[0]
    return [
      {
        name: service.name,
        urls: pathsOf(mesh, service).map((each) => each.device),
        ports: service.ports.map((each) => each.port),
        allow: service.allow,
        since: since?.slice(0, 10) ?? '',
      },
    ]
  })
}

/** One line of the table. `since` is a date as it shall be read. */
export type BookRow = { name: string; urls: string[]; ports: number[]; allow: string[]; since: string }

const begin = '<!-- onehop: begin -->'
/** For a text whose last line had no end. */
const beginGlued = '<!-- onehop: begin (joined) -->'
/** For a file that was not there. */
const beginNew = '<!-- onehop: begin (new file) -->'
const finish = '<!-- onehop: end -->'

function blockOf(rows: BookRow[], { eol, opening }: { eol: string; opening: string }): string {
  const cell = (value: string) =>
    value.replace(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('<!--', '&lt;!--')
  const lines = rows.map(({ name, urls, ports, allow, since }) =>
    [name, urls.join(' '), ports.join(', '), allow.join(', '), since].map(cell).join(' | '),
  )
  return [
    opening,
    '| Service | URL | Ports | May reach it | Since |',
    '|---|---|---|---|---|',
    ...lines.map((line) => `| ${line} |`),
    finish,
  ].join(eol)
}

/** A marker is one only on a line of its own. */
function findBlock(text: string, file: string): { start: number; end: number; opening: string } | undefined {
  const markers = [
    ...text.matchAll(/^<!-- onehop: (begin(?: \((?:joined|new file)\))?|end) -->[ \t]*\r?$/gm),
  ].map(({ 0: whole, 1: name = '', index }) => ({
    name,
    start: index,
    end: index + whole.trimEnd().length,
    line: text.slice(0, index).split('\n').length,
  }))
  const [first, second, third] = markers
  const broken = (line: number, message: string) => new OnehopError('books-broken', { file, line, message })
  if (!first) return undefined
  if (first.name === 'end') throw broken(first.line, `"${finish}" without "${begin}" before it`)
  if (!second) throw broken(first.line, `"${begin}" without "${finish}" after it`)
  if (second.name !== 'end') throw broken(second.line, `a second "${begin}" before "${finish}"`)
  if (third) throw broken(third.line, 'a second block of onehop')
  return { start: first.start, end: second.end, opening: `<!-- onehop: ${first.name} -->` }
}
