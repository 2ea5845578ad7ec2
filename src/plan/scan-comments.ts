import type { Question } from './scan-questions.ts'

/** A question as comment lines, with its choices and what to write for them. */
export const question = ({ ask, choices, draft = [] }: Question, indent = ''): string[] => [
  ...comment(ask, indent, '? '),
  ...choices.flatMap((choice) => comment(choice, indent, '  - ')),
  ...draft.map((line) => `${indent}# ${oneLine(line)}`),
]

/** Every question of the text, for programs. */
export const questionsOf = (text: string): string[] =>
  [...text.matchAll(/^ *# \? (.*(?:\n *# {3}(?!- ).*)*)/gm)].map(([, asked = '']) =>
    asked.replace(/\n *# +/g, ' '),
  )

export const width = 120

/** A text of whatever origin as comment lines: it must never leave the comment. */
export function comment(text: string, indent = '', mark = ''): string[] {
  const lead = `${indent}# `
  const further = ' '.repeat(mark === '' ? 0 : mark.length)
  const lines = ['']
  for (const word of oneLine(text).split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && lead.length + further.length + line.length + word.length >= width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.map((line, index) => `${lead}${index === 0 ? mark : further}${line}`)
}

export const beside = (text: string) => ` # ${oneLine(text)}`

/** Line ends of all kinds, and what else a YAML parser or a terminal would not take as text. */
const oneLine = (text: string) => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')

/** A string as YAML: plain where no reader could take it for anything else. */
export const scalar = (text: string) =>
  /^[a-z~/][\w@./~:-]*[\w]$/i.test(text) &&
  !/^(true|false|null|yes|no|on|off)$/i.test(text) &&
  !text.includes(': ')
    ? text
    : JSON.stringify(text)
