import { OnehopError } from '../errors.ts'
import { tokenize } from './caddyfile-lexer.ts'

/**
 * A variable of the environment (`{$NAME}` or `{$NAME:default}`) that a Caddyfile takes a value from, at its first place.
 * `isSet`: the environment of this process has it, which says nothing of what Caddy's own has.
 */
export type CaddyVariable = { name: string; file: string; line: number; isSet: boolean; hasDefault: boolean }

/** The variables of a Caddyfile's text, each once, in order. What a comment names has no effect. */
export function variablesIn(text: string): Array<Pick<CaddyVariable, 'name' | 'line' | 'hasDefault'>> {
  const tokens = tokenize(text)
  const found = [...text.matchAll(/\{\$([^}:]+)(:[^}]*)?\}/g)].flatMap(
    ({ index, 0: whole, 1: name = '', 2: fallback }) =>
      tokens.some(({ start, end }) => start < index + whole.length && index < end)
        ? [{ name, line: text.slice(0, index).split('\n').length, hasDefault: fallback !== undefined }]
        : [],
  )
  return onceByName(found)
}

/** The first of each name. */
export const onceByName = <T extends { name: string }>(found: T[]): T[] =>
  found.filter(({ name }, index) => found.findIndex((each) => each.name === name) === index)

/**
 * Why the file is not what Caddy runs, as an error. With variables it cannot be known whether somebody has edited the file or
 * Caddy's process has other values than this one: loading the file from here could then take a working site down.
 */
export function caddyNotRunning({ file, admin, path, variables }: NotRunning): OnehopError {
  if (variables.length === 0) return new OnehopError('caddy-file-not-running', { file, admin, path })
  return new OnehopError('caddy-variables-unknown', {
    file,
    variables: namedVariables(file, variables),
    message: `with the values that they have here, the file is not what Caddy runs (first difference: ${path})`,
  })
}

type NotRunning = { file: string; admin: string; path: string; variables: CaddyVariable[] }

/** `{$DOMAIN} (line 6, not set here), {$PORT} (sites/a.caddy:3)`: names and places, never values. */
export const namedVariables = (file: string, variables: CaddyVariable[]): string =>
  variables
    .map((each) => {
      const place = each.file === file ? `line ${each.line}` : `${each.file}:${each.line}`
      return `{$${each.name}} (${place}${each.isSet ? '' : ', not set here'})`
    })
    .join(', ')
