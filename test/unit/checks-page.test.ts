import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { renderChecksPage } from '../../docs/render-checks.ts'
import { errorTable } from '../../src/errors.ts'
import { checkIds, checkRow, codesOf } from '../../src/plan/check-table.ts'
import { judgedIds } from '../../src/plan/checks.ts'

test('docs/checks.md says what the table says', () => {
  const page = readFileSync(new URL('../../docs/checks.md', import.meta.url), 'utf8')
  expect(page, 'run: node bootstrap.mjs docs/render-checks.ts').toBe(renderChecksPage())
})

test('each check of the table is judged, and no other', () => {
  expect(judgedIds.toSorted()).toEqual([...checkIds].sort())
})

test('a check needs, or follows from, only checks that are judged before it', () => {
  checkIds.forEach((id, index) => {
    const { needs, follows = [] } = checkRow(id)
    for (const each of [...needs, ...follows]) expect(checkIds.slice(0, index)).toContain(each)
  })
})

test('what checks of another group hang on says what they are told in its place', () => {
  for (const id of checkIds) {
    const { group, needs, follows = [] } = checkRow(id)
    for (const each of checkIds.filter((other) => [...needs, ...follows].includes(other)))
      if (checkRow(each).group !== group) expect(checkRow(each).down, each).toBeDefined()
  }
})

test('each error by which a check fails has its page', () => {
  for (const id of checkIds) for (const code of codesOf(id)) expect(Object.keys(errorTable)).toContain(code)
})
