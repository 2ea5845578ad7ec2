import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeBlock } from '../../../src/plan/books.ts'
import { createBooks } from '../../../src/systems/books.ts'

const row = { name: 'redis', urls: ['redis://redis.a.ts.net:6379'], ports: [6379], allow: [], since: '' }
const books = createBooks()

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-books-'))
  file = join(folder, 'NEIGHBORHOOD.md')
})
afterEach(() => rmSync(folder, { recursive: true }))

const write = (rows: Array<typeof row>) =>
  books.edit(file, (text, isThere) => writeBlock(text, rows, file, isThere))

test('bytes that are not UTF-8 are refused and stay', async () => {
  const latin1 = Buffer.from('# Größe\n', 'latin1')
  writeFileSync(file, latin1)
  await expect(write([row])).rejects.toMatchObject({ code: 'books-unreadable' })
  await expect(books.read(file)).rejects.toMatchObject({ code: 'books-unreadable' })
  expect(readFileSync(file)).toEqual(latin1)
})

test('a file that was made for the block goes with it', async () => {
  await write([row])
  await write([row, { ...row, name: 'cache' }])
  expect(readFileSync(file, 'utf8')).toContain('| cache |')
  await write([])
  expect(existsSync(file)).toBe(false)
})

test('a file that was empty before stays, and so does one in which somebody has written since', async () => {
  writeFileSync(file, '')
  await write([row])
  await write([])
  expect(readFileSync(file, 'utf8')).toBe('')
  rmSync(file)
  await write([row])
  writeFileSync(file, `${readFileSync(file, 'utf8')}mine\n`)
  await write([])
  expect(readFileSync(file, 'utf8')).toBe('mine\n')
})
