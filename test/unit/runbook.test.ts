import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { renderRunbook, runbookFolder } from '../../docs/render-runbook.ts'
import { errorTable } from '../../src/errors.ts'

const rendered = renderRunbook()

test('docs/runbook has a page for each error and no page for any other', () => {
  const pages = readdirSync(runbookFolder).filter((file) => file !== 'README.md')
  expect(pages.sort()).toEqual(
    Object.keys(errorTable)
      .map((code) => `${code}.md`)
      .sort(),
  )
})

test.each(Object.keys(rendered))('docs/runbook/%s says what the table says', (file) => {
  const hint = 'run: node bootstrap.mjs docs/render-runbook.ts'
  expect(readFileSync(join(runbookFolder, file), 'utf8'), hint).toBe(rendered[file])
})

test('the index leads to every page', () => {
  for (const code of Object.keys(errorTable)) expect(rendered['README.md']).toContain(`(${code}.md)`)
})
