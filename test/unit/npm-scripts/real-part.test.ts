import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { isCI, whyUnfit } from '../../../sandbox/requirements.ts'
import { countRealFiles, decideReal } from '../../real-part.ts'

const ready = { asked: false, ci: false, unfit: undefined, lacking: [], missing: [] }
const notBuilt = ['Debian packages', 'Inngest']
const mac = whyUnfit({ platform: 'darwin', uid: 501 })

describe('the tests on real servers', () => {
  test('run wherever everything is there', () => {
    expect(decideReal(ready)).toBe('run')
  })

  test('build what is not there when they were asked for, and in CI', () => {
    expect(decideReal({ ...ready, asked: true, missing: notBuilt })).toBe('run')
    expect(decideReal({ ...ready, ci: true, missing: notBuilt })).toBe('run')
  })

  test('are left out of npm test, with the reason, where the servers are not built', () => {
    expect(decideReal({ ...ready, missing: notBuilt, lacking: ['Go 1.26'] })).toEqual({
      skip: expect.stringContaining('Debian packages; Inngest'),
    })
  })

  test.for([mac, whyUnfit({ platform: 'linux', uid: 1000 })])(
    'are left out where they can never run, in CI too, and refused when asked for: %s',
    (unfit) => {
      expect(unfit).toBeDefined()
      expect(decideReal({ ...ready, unfit })).toEqual({ skip: unfit })
      expect(decideReal({ ...ready, unfit, ci: true })).toEqual({ skip: unfit })
      expect(decideReal({ ...ready, unfit, asked: true })).toEqual({ refuse: unfit })
    },
  )

  test('are left out where the machine lacks a program; in CI, and when asked for, that is a failure', () => {
    const lacking = ['unshare', 'nsenter']
    expect(decideReal({ ...ready, lacking })).toEqual({ skip: 'this machine lacks unshare; nsenter' })
    expect(decideReal({ ...ready, lacking, ci: true })).toHaveProperty('refuse')
    expect(decideReal({ ...ready, lacking, asked: true })).toHaveProperty('refuse')
  })

  test('are counted by file', () => {
    expect(countRealFiles(fileURLToPath(new URL('../../..', import.meta.url)))).toBeGreaterThan(30)
  })
})

test('macOS and ordinary users are told what the real servers need, root on Linux is not', () => {
  expect(mac).toContain('this is darwin')
  expect(whyUnfit({ platform: 'linux', uid: 1000 })).toContain('they need root')
  expect(whyUnfit({ platform: 'linux', uid: 0 })).toBeUndefined()
})

test('CI is what CI sets', () => {
  expect(['true', '1', 'woodpecker'].map((value) => isCI(value))).toEqual([true, true, true])
  expect(['', '0', 'false'].map((value) => isCI(value))).toEqual([false, false, false])
})
