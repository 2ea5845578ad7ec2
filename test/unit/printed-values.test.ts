import { join, relative } from 'node:path'
import type { Node } from 'typescript/unstable/ast'
import { SyntaxKind } from 'typescript/unstable/ast'
import {
  isBinaryExpression,
  isCallExpression,
  isPropertyAccessExpression,
  isTemplateSpan,
} from 'typescript/unstable/ast/is'
import { API, type Project, type Type, TypeFlags, type TypeReference } from 'typescript/unstable/sync'
import { afterAll, beforeAll, expect, test } from 'vitest'

// What typescript-eslint calls restrict-template-expressions, asked of the compiler itself: a text is made of texts and
// numbers. An object would be printed as [object Object], a missing value as undefined.
const root = join(import.meta.dirname, '../..')
const places = ['src', 'examples', 'inngest.config.ts'].map((each) => join(root, each))

let api: API
let project: Project
beforeAll(() => {
  api = new API({ cwd: root })
  const [found] = api.updateSnapshot({ openProjects: [join(root, 'tsconfig.json')] }).getProjects()
  if (!found) throw new Error('tsconfig.json makes no project')
  project = found
})
afterAll(() => api.close())

test('every text is made of texts and numbers', () => {
  const files = project.program
    .getSourceFileNames()
    .filter((name) => places.some((place) => name === place || name.startsWith(`${place}/`)))
  expect(files.length).toBeGreaterThan(100)
  expect(files.flatMap(strayValues)).toEqual([])
})

test('whatever else is put into a text is found', () => {
  const found = strayValues(import.meta.filename).map((each) => each.replace(/^[^ ]+ /, ''))
  expect(found).toEqual([
    'value: { a: number; }',
    'missing: string | undefined',
    'any: any',
    'unknown: unknown',
    'generic: T',
    'yes: boolean',
    'value: { a: number; }',
    'list: { a: number; }[]',
    '(yes ? list : undefined): { a: number; }[] | undefined',
  ])
})

/** Never called: here for the test above. */
export const wrong = <T>(
  { value, missing, unknown, list, generic, yes }: Wrong<T>,
  // biome-ignore lint/suspicious/noExplicitAny: that it is found is what is tested
  any: any,
) => [
  `${value} ${missing} ${any} ${unknown} ${generic} ${yes}`,
  `a ${yes ? 'b' : 1}`,
  // biome-ignore lint/style/useTemplate: that it is found is what is tested
  'a' + value,
  list.join(),
  (yes ? list : undefined)?.join(', '),
  ['a', undefined].join(),
]
type Wrong<T> = {
  value: { a: number }
  missing: string | undefined
  unknown: unknown
  list: Array<{ a: number }>
  generic: T
  yes: boolean
}

/** The values of one file that are put into a text, by a template, a plus or a join, and are neither text nor number. */
function strayValues(name: string): string[] {
  const file = project.program.getSourceFile(name)
  if (!file) throw new Error(`tsconfig.json does not have ${name}`)
  const { checker } = project
  const found: string[] = []
  const note = (node: Node, type: Type | undefined, isFine: boolean) => {
    if (isFine) return
    const line = file.text.slice(0, node.end).split('\n').length
    const text = file.text.slice(node.pos, node.end).trim()
    found.push(`${relative(root, name)}:${line} ${text}: ${type ? checker.typeToString(type) : 'no type'}`)
  }
  const visit = (node: Node): void => {
    if (isTemplateSpan(node)) {
      const type = checker.getTypeAtLocation(node.expression)
      note(node.expression, type, isText(type))
    } else if (isBinaryExpression(node) && node.operatorToken.kind === SyntaxKind.PlusToken) {
      for (const side of [node.left, node.right]) {
        const type = checker.getTypeAtLocation(side)
        note(side, type, isText(type))
      }
    } else if (isCallExpression(node) && isPropertyAccessExpression(node.expression)) {
      const { name: called, expression: list } = node.expression
      const type = called.text === 'join' ? checker.getTypeAtLocation(list) : undefined
      const array = type && checker.getNonNullableType(type)
      // Of a missing element join prints nothing.
      if (array && checker.isArrayLikeType(array))
        note(list, type, checker.getTypeArguments(array as TypeReference).every(isTextOrMissing))
    }
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found

  function isText(type: Type | undefined): boolean {
    if (!type) return false
    if (type.isUnionType()) return type.getTypes().every(isText)
    if (type.isIntersectionType()) return type.getTypes().some(isText)
    if (type.flags & (TypeFlags.StringLike | TypeFlags.NumberLike | TypeFlags.BigIntLike | TypeFlags.Never))
      return true
    const constraint = type.flags & TypeFlags.Instantiable ? checker.getBaseConstraintOfType(type) : undefined
    return constraint !== undefined && constraint !== type && isText(constraint)
  }

  function isTextOrMissing(type: Type): boolean {
    if (type.isUnionType()) return type.getTypes().every(isTextOrMissing)
    return Boolean(type.flags & TypeFlags.Nullable) || isText(type)
  }
}
