import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { findUpstreams, replaceUpstreams } from '../../../src/plan/caddyfile.ts'
import { findRoute, isRemoved, removeRoute, restoreRoute } from '../../../src/plan/remove-route.ts'
import {
  editedRoutes,
  file,
  fixtureFolder,
  fixtureText,
  refusedRoutes,
  switchedRoutes,
  unswitchable,
} from '../../caddy/removal-fixtures.ts'

const markers = (text: string) => text.split('\n').filter((line) => line.includes('# onehop:')).length

describe('a route is taken out exactly, and comes back as the same bytes', () => {
  test.each(editedRoutes)('$fixture: $site', ({ fixture, site, upstream, lines, whole }) => {
    const text = fixtureText(fixture)
    const route = findRoute(text, { file, site, upstream })
    expect(route.whole).toBe(whole)
    const after = removeRoute(text, route)

    // Line by line: each range gives way to one comment, with its line ends and every other line as they were.
    const expected = text.split('\n')
    for (const [index, [from, to]] of [...lines.entries()].reverse()) {
      const marker = route.parts[index]?.marker
      const [first = '', last = ''] = [expected[from - 1], expected[to - 1]]
      const blank = /^\ufeff?[ \t]*/.exec(first)?.[0] ?? ''
      expected.splice(from - 1, to - from + 1, `${blank}${marker}${last.endsWith('\r') ? '\r' : ''}`)
    }
    expect(after).toBe(expected.join('\n'))
    expect(isRemoved(after, route)).toBe(true)
    expect(isRemoved(text, route)).toBe(false)

    expect(removeRoute(after, route)).toBe(after)
    expect(restoreRoute(after, route)).toBe(text)
    expect(restoreRoute(text, route)).toBe(text)
  })
})

describe('what cannot be taken out exactly is refused, with its line', () => {
  test.each(refusedRoutes)('$fixture', ({ fixture, site, upstream, code, line }) => {
    expect(() => findRoute(fixtureText(fixture), { file, site, upstream })).toThrow(
      expect.objectContaining({ code, ...at(code, line) }),
    )
  })
})

/** Where a refusal leads its reader. */
const at = (code: string, line: number | undefined) =>
  code === 'caddy-route-not-found'
    ? { message: expect.stringContaining(`(line ${line}`) }
    : { details: expect.objectContaining({ line }) }

test('every captured Caddyfile is used, to take a route out and to switch one', () => {
  const all = readdirSync(fixtureFolder).sort()
  const names = (of: Array<{ fixture: string }>) =>
    [...new Set(of.map(({ fixture }) => `${fixture}.caddyfile`))].sort()
  expect(names([...editedRoutes, ...refusedRoutes])).toEqual(all)
  expect(names([...switchedRoutes, ...unswitchable])).toEqual(all)
})

test('a site that the file does not have at all is said to be none of it', () => {
  expect(() => findRoute(fixtureText('crlf'), { file, site: 'z.net', upstream: 'x:1' })).toThrow(
    'no block has that address',
  )
})

describe('several routes come back in any order', () => {
  const pandaRoutes = editedRoutes.filter(({ fixture }) => fixture === 'panda')
  const adjacent = editedRoutes.filter(({ fixture }) => fixture === 'adjacent-without-blank-lines')
  const cases = [pandaRoutes.slice(0, 3), adjacent].flatMap((routes) =>
    permutations(routes).flatMap((out) => permutations(routes).map((back) => ({ out, back }))),
  )
  test('all orders of three removals and three undos', () => {
    expect(cases).toHaveLength(72)
    for (const { out, back } of cases) {
      const first = fixtureText(out[0]?.fixture ?? '')
      let text = first
      const taken = new Map(
        out.map(({ site, upstream }) => {
          const route = findRoute(text, { file, site, upstream })
          text = removeRoute(text, route)
          return [site, route] as const
        }),
      )
      expect(markers(text)).toBe(3)
      for (const { site } of back) {
        const route = taken.get(site)
        if (route) text = restoreRoute(text, route)
      }
      expect(text).toBe(first)
    }
  })

  test('those that were only switched too, in between', () => {
    const old = 'localhost:4321'
    const swap = (text: string, { site, upstream, to }: { site: string; upstream: string; to: string }) =>
      replaceUpstreams(
        text,
        findUpstreams(text, { site, upstream }).map((each) => ({ ...each, to })),
      )
    for (const fixture of [pandaRoutes, adjacent]) {
      const [gone] = fixture.slice(0, 3)
      if (!gone) throw new Error('no route')
      const first = fixture
        .slice(0, 3)
        .reduce(
          (text, { site, upstream }) => swap(text, { site, upstream, to: old }),
          fixtureText(gone.fixture),
        )
      for (const order of permutations(fixture.slice(0, 3))) {
        const moved = order.reduce(
          (text, { site, upstream }) => swap(text, { site, upstream: old, to: upstream }),
          first,
        )
        const route = findRoute(moved, { file, site: gone.site, upstream: gone.upstream })
        const undone = order.reduce(
          (text, each) => swap(each === gone ? restoreRoute(text, route) : text, { ...each, to: old }),
          removeRoute(moved, route),
        )
        expect(undone).toBe(first)
      }
    }
  })

  test('also of one site: what is left of it is never taken out as a whole', () => {
    const first =
      'a.net {\n\thandle /r/* {\n\t\treverse_proxy r:1\n\t}\n\thandle /i/* {\n\t\treverse_proxy i:1\n\t}\n}\n'
    const one = findRoute(first, { file, site: 'a.net', upstream: 'r:1' })
    const without = removeRoute(first, one)
    const other = findRoute(without, { file, site: 'a.net', upstream: 'i:1' })
    expect(other.whole).toBe(false)
    const empty = removeRoute(without, other)
    expect(restoreRoute(restoreRoute(empty, one), other)).toBe(first)
    expect(restoreRoute(restoreRoute(empty, other), one)).toBe(first)
  })
})

describe('what others do meanwhile', () => {
  const text = fixtureText('two-sites-one-server')
  const route = findRoute(text, { file, site: 'a.net', upstream: 'inngest.tail7af24.ts.net:8288' })

  test('elsewhere in the file stays, and so does a new indentation of our comment', () => {
    const edited = removeRoute(text, route)
      .replace('localhost:2', 'localhost:3')
      .replace('# onehop', '    # onehop')
    expect(restoreRoute(`# by hand\n${edited}`, route)).toBe(
      `# by hand\n${text.replace('localhost:2', 'localhost:3')}`,
    )
  })

  test('in the route itself is refused', () => {
    expect(() => removeRoute(text.replace('a.net {', 'a.net { # mine'), route)).toThrow(
      expect.objectContaining({ code: 'changed-by-others' }),
    )
  })

  test('to our comment is refused: the place is gone', () => {
    const edited = removeRoute(text, route).replace('# onehop', '# twohop')
    expect(() => restoreRoute(edited, route)).toThrow(
      expect.objectContaining({
        code: 'caddy-place-gone',
        details: expect.objectContaining({ site: 'a.net' }),
      }),
    )
  })
})

function permutations<T>(all: T[]): T[][] {
  if (all.length < 2) return [all]
  return all.flatMap((each, index) => permutations(all.toSpliced(index, 1)).map((rest) => [each, ...rest]))
}
