import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readPlanFile, writePlanFile } from '../../../src/systems/plan-file.ts'

function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-plan-file-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('a plan is written for its owner alone, in place of an earlier one, and leaves nothing beside it', async () => {
  const folder = makeFolder()
  const file = join(folder, 'plan.json')
  await writePlanFile(file, 'first')
  await writePlanFile(file, 'second')
  expect(readFileSync(file, 'utf8')).toBe('second')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['plan.json'])
  expect(await readPlanFile(file)).toBe('second')
})

test('a file that cannot be written or read is named', async () => {
  const file = join(makeFolder(), 'no-such-folder', 'plan.json')
  await expect(writePlanFile(file, 'text')).rejects.toMatchObject({
    code: 'plan-unwritable',
    message: expect.stringContaining(file),
  })
  await expect(readPlanFile(file)).rejects.toMatchObject({ code: 'plan-unreadable', kind: 'input' })
})
