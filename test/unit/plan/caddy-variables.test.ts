import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { realDisk } from '../../../src/disk.ts'
import { errorTable } from '../../../src/errors.ts'
import { caddyNotRunning, namedVariables, variablesIn } from '../../../src/plan/caddy-variables.ts'
import { importPatterns } from '../../../src/plan/caddyfile.ts'
import { checkTable } from '../../../src/plan/check-table.ts'
import { readVariables } from '../../../src/systems/caddy-imports.ts'

test('variables are found wherever Caddy replaces them, each once, and not in comments', () => {
  const text = [
    '# {$COMMENT}',
    '{$DOMAIN:a.net}:443, http://{$HOST} {',
    '\trespond "{$WORD:two words}" # {$LATER}',
    '\treverse_proxy localhost:{$PORT} {$DOMAIN}',
    '\theader X `{$QUOTED}` {$} {env.RUNTIME}',
    '}',
  ].join('\n')
  expect(variablesIn(text).map(({ name, line, hasDefault }) => `${name} ${line} ${hasDefault}`)).toEqual([
    ...['DOMAIN 2 true', 'HOST 2 false', 'WORD 3 true', 'PORT 4 false', 'QUOTED 5 false'],
  ])
})

test('imports are what Caddy would look for: no snippet of the file, nothing that is only called import', () => {
  const text =
    '(own) {\n\trespond x\n}\nimport sites/*\na.net {\n\timport own\n\timport "with blank.caddy" arg\n\theader import x\n}\n'
  expect(importPatterns(text)).toEqual(['sites/*', 'with blank.caddy'])
})

test('variables of imported files are named with their place; what cannot be read is left to Caddy', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'onehop-variables-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'sites/deep'), { recursive: true })
  const file = join(folder, 'Caddyfile')
  await writeFile(file, '{$FIRST} {\n\timport sites/*.caddy\n\timport none\n\timport sites/*/x\n}\n')
  await writeFile(join(folder, 'sites/b.caddy'), 'respond {$SECOND}\nimport ../sites/a.caddy\n')
  await writeFile(join(folder, 'sites/a.caddy'), 'import b.caddy\nrespond {$FIRST} {$PATH}\n')
  await writeFile(join(folder, 'sites/.hidden.caddy'), 'respond {$HIDDEN}\n')
  await writeFile(join(folder, 'sites/deep/x'), 'respond {$DEEP:x}\n')
  const found = await readVariables(realDisk, file)
  expect(namedVariables(file, found).replaceAll(folder, '')).toBe(
    '{$FIRST} (line 1, not set here), {$PATH} (/sites/a.caddy:2), {$SECOND} (/sites/b.caddy:1, not set here), {$DEEP} (/sites/deep/x:1, not set here)',
  )
})

test('without variables the file and what runs are for the owner to compare, with them the values are what is missing', () => {
  const asked = { file: '/c/Caddyfile', admin: 'http://localhost:2019', path: '/apps' }
  expect(caddyNotRunning({ ...asked, variables: [] })).toMatchObject({ code: 'caddy-file-not-running' })
  const variables = [{ name: 'A', file: '/c/Caddyfile', line: 2, isSet: true, hasDefault: false }]
  const { code, message } = caddyNotRunning({ ...asked, variables })
  expect([code, message]).toEqual(['caddy-variables-unknown', expect.stringContaining('{$A} (line 2); ')])
})

test('no fix and no page makes Caddy load a file from a shell, nor tries it there', async () => {
  const dangerous = /caddy (reload|validate|run|start|load)\b/
  for (const { fix } of Object.values(errorTable)) expect(fix).not.toMatch(dangerous)
  expect(JSON.stringify(checkTable)).not.toMatch(dangerous)
  const docs = join(import.meta.dirname, '../../../docs')
  const pages = [
    ...(await readdir(join(docs, 'runbook'))).map((name) => join('runbook', name)),
    'drift.md',
    'checks.md',
  ]
  for (const page of pages) expect(await readFile(join(docs, page), 'utf8'), page).not.toMatch(dangerous)
})
