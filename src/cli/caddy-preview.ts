import { createTwoFilesPatch } from 'diff'
import { createCaddy } from '../systems/caddy.ts'
import type { Answer } from './output.ts'

/** onehop caddy preview --file F --from localhost:8288 --to name:8288 [--site S]: the edit as a diff, judged by `caddy adapt`. Changes nothing. */
export async function caddyPreview({ file, from, to, site, bin }: Flags): Promise<Answer> {
  const result = await createCaddy({ file, admin: 'http://localhost:2019', bin }).preview({
    edits: [{ from, to, site }],
  })
  const diff = createTwoFilesPatch(file, file, result.before, result.after, 'as it is', 'as it would be')
  const verdict = `caddy adapt: the difference is exactly ${result.changed.length} upstream${result.changed.length === 1 ? '' : 's'}. Nothing was changed.`
  return { result, text: `${diff}\n${verdict}` }
}

type Flags = { file: string; from: string; to: string; site?: string; bin: string }
