// usage: npm run tour   what `onehop plan` and `onehop caddy preview` say of a recorded system; touches nothing
import { readFileSync } from 'node:fs'
import { styleText } from 'node:util'
import { createTwoFilesPatch } from 'diff'
import { findUpstreams, judgeEdit, replaceUpstreams } from '../src/plan/caddyfile.ts'
import { parseMesh } from '../src/plan/mesh.ts'
import { planMesh } from '../src/plan/plan.ts'
import { renderPlan } from '../src/plan/render-plan.ts'
import type { Snapshot } from '../src/plan/snapshot.ts'

const read = (name: string) => readFileSync(new URL(`./panda/${name}`, import.meta.url), 'utf8')

// The recorded system is panda's, so its Caddyfile is named as there and not by this machine's home.
const caddyfile = '~/.local/caddy/Caddyfile'
const parsed = parseMesh(read('mesh.yaml'), 'examples/panda/mesh.yaml')
const mesh = { ...parsed, caddy: { ...parsed.caddy, file: caddyfile } }
const snapshot: Snapshot = JSON.parse(read('snapshot.json'))

title('$ onehop plan')
print(renderPlan(planMesh(mesh, snapshot)))

const edit = {
  site: 'https://panda.tail7af24.ts.net:9443',
  from: 'localhost:8288',
  to: 'inngest.tail7af24.ts.net:8288',
}
title(`$ onehop caddy preview --file ${caddyfile} --from ${edit.from} --to ${edit.to} --site ${edit.site}`)
print(previewEdit(edit))

title('This was a recording: what was read of panda stands in examples/panda/, and nothing was touched.')
print(
  'On your own system: npm run onehop -- scan --out mesh.yaml, answer its questions, then npm run onehop -- plan',
)

/** The edit as a diff, judged as `onehop caddy preview` does it, by what `caddy adapt` made of both files when this was recorded. */
function previewEdit({ site, from, to }: typeof edit): string {
  const before = read('Caddyfile')
  const edits = findUpstreams(before, { site, upstream: from }).map((token) => ({ ...token, to }))
  const after = replaceUpstreams(before, edits)
  const diff = createTwoFilesPatch(caddyfile, caddyfile, before, after, 'as it is', 'as it would be')
  const stray = judgeEdit(snapshot.caddy?.adapted, JSON.parse(read('adapted-after.json')), edits)
  const verdict = stray
    ? `the edit would change more than the upstreams: ${stray.path}`
    : `the difference is exactly ${edits.length} upstream${edits.length === 1 ? '' : 's'}`
  return `${diff}\ncaddy adapt (recorded, Caddy ${snapshot.caddy?.version ?? 'unknown'}): ${verdict}. Nothing was changed.`
}

function title(text: string): void {
  print(styleText('cyan', `\n${text}\n`))
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
