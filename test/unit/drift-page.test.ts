import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { renderDriftPage } from '../../docs/render-drift.ts'
import { driftKindNames, driftKinds } from '../../src/plan/drift-kinds.ts'

test('docs/drift.md says what the table says', () => {
  const page = readFileSync(new URL('../../docs/drift.md', import.meta.url), 'utf8')
  expect(page, 'run: node bootstrap.mjs docs/render-drift.ts').toBe(renderDriftPage())
})

test('what follows from a drift is a kind of drift itself, and never the drift again', () => {
  for (const kind of driftKindNames)
    for (const covered of driftKinds[kind].covers) {
      expect(driftKindNames).toContain(covered)
      expect(covered).not.toBe(kind)
    }
})
