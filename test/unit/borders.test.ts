import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const src = join(import.meta.dirname, '../../src')

/** What a folder must not import (types excepted), and why. */
const borders = [
  {
    folder: 'plan',
    not: /^(node:(fs|net|http|dns|child)|execa|@kubernetes|\.\.\/(systems|steps|functions|cli)\/)/,
    why: 'the pure core does no I/O, so that plan and migrate cannot disagree',
  },
  {
    folder: 'functions',
    not: /^(node:|execa|@kubernetes|\.\.\/(systems|cli)\/)/,
    why: 'functions reach systems only through steps: what runs outside a step runs again at every re-entry',
  },
  {
    folder: 'steps',
    not: /^(node:(?!util$)|execa|@kubernetes|\.\.\/(functions|cli)\/)/,
    why: 'only systems/ opens sockets, runs programs or touches files',
  },
  { folder: 'systems', not: /^\.\.\/(functions|steps|cli)\//, why: 'data flows one way: steps -> systems' },
]

test.for(borders)('$folder keeps its border: $why', ({ folder, not }) => {
  const crossings = readdirSync(join(src, folder)).flatMap((file) => {
    const imports = readFileSync(join(src, folder, file), 'utf8').matchAll(
      /^(?:import (?!type)[^;]*?|\} )from '([^']+)'/gm,
    )
    return [...imports].flatMap(([, from = '']) =>
      not.test(from) ? [`${folder}/${file} imports ${from}`] : [],
    )
  })
  expect(crossings).toEqual([])
})
