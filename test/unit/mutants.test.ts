import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { mutants } from '../mutants/mutants.ts'

// `npm run mutants` takes minutes and is run by hand: that its breaks still fit the source is seen at once.
test.each(mutants)('there is one place to break: $why', ({ file, find, replace }) => {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  expect(text.split(find)).toHaveLength(2)
  expect(replace).not.toBe(find)
})
