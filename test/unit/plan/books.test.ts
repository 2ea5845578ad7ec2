import { describe, expect, test } from 'vitest'
import { type BookRow, writeBlock } from '../../../src/plan/books.ts'

const redis: BookRow = {
  name: 'redis',
  urls: ['redis://redis.tail7af24.ts.net:6379'],
  ports: [6379],
  allow: ['panda'],
  since: '2026-11-23',
}
const inngest: BookRow = {
  name: 'inngest',
  urls: ['http://inngest.tail7af24.ts.net:8288', 'http://inngest.tail7af24.ts.net:8289'],
  ports: [8288, 8289],
  allow: ['panda', 'clanker-001'],
  since: '2026-11-23',
}

test('the block is a table between two comments', () => {
  expect(writeBlock('# Neighborhood\n', [redis, inngest])).toBe(`# Neighborhood
<!-- onehop: begin -->
| Service | URL | Ports | May reach it | Since |
|---|---|---|---|---|
| redis | redis://redis.tail7af24.ts.net:6379 | 6379 | panda | 2026-11-23 |
| inngest | http://inngest.tail7af24.ts.net:8288 http://inngest.tail7af24.ts.net:8289 | 8288, 8289 | panda, clanker-001 | 2026-11-23 |
<!-- onehop: end -->
`)
})

describe('every other byte stays, and without rows the text is as it was', () => {
  const texts: Array<[title: string, text: string]> = [
    ['an empty file', ''],
    ['one line', '# Neighborhood\n'],
    ['no final newline', '# Neighborhood\nlast line'],
    ['several final newlines', '# Neighborhood\n\n\n'],
    ['CRLF', '# Größe 🦊\r\n\r\n| a | b |\r\n'],
    ['CRLF without a final one', '# Größe 🦊\r\nlast'],
    ['a marker within a line, and in prose', 'we use `<!-- onehop: begin -->` here\n'],
    ['blanks only', '   '],
  ]
  test.each(texts)('%s', (_, text) => {
    const once = writeBlock(text, [redis])
    expect(once.startsWith(text)).toBe(true)
    expect(writeBlock(once, [redis])).toBe(once)
    const twice = writeBlock(once, [redis, inngest])
    expect(twice).toContain('| inngest |')
    expect(writeBlock(twice, [redis])).toBe(once)
    expect(writeBlock(twice, [])).toBe(text)
    expect(writeBlock(text, [])).toBe(text)
    if (text.includes('\r\n')) expect(once.replaceAll('\r\n', '')).not.toContain('\n')
  })

  test('also when the user moves the block and writes around it', () => {
    const once = writeBlock('a\n', [redis])
    const block = once.slice('a\n'.length)
    const moved = `top\n\n${block}\nbelow\nno end`
    expect(writeBlock(moved, [inngest])).toContain('\n\nbelow\nno end')
    expect(writeBlock(moved, [])).toBe('top\n\n\nbelow\nno end')
    expect(writeBlock(moved.trimEnd(), [redis])).toBe(moved)
  })
})

test('a cell cannot break the table or the markers', () => {
  const text = writeBlock('', [{ ...redis, name: 'a|b\n<!-- onehop: end -->', since: 'x' }])
  expect(text.split('\n')).toHaveLength(6)
  expect(writeBlock(text, [])).toBe('')
})

describe('broken markers are refused, with their line', () => {
  const [begin, end] = ['<!-- onehop: begin -->', '<!-- onehop: end -->']
  test.each([
    ['the end alone', `a\n${end}\n`, 2],
    ['the begin alone', `a\n\n${begin}\nb\n`, 3],
    ['two begins', `${begin}\n${begin}\n${end}\n`, 2],
    ['two blocks', `${begin}\n${end}\n${begin}\n${end}\n`, 3],
    ['the end first', `${end}\r\n${begin}\r\n`, 1],
    ['two ends', `${begin}\n${end}\n${end}\n`, 3],
  ])('%s', (_, text, line) => {
    for (const rows of [[redis], []])
      expect(() => writeBlock(text, rows, 'N.md')).toThrow(
        expect.objectContaining({
          code: 'books-broken',
          details: expect.objectContaining({ file: 'N.md', line }),
        }),
      )
  })
})
