import { describe, expect, test } from 'vitest'
import {
  adaptedDials,
  diffAdapted,
  findUpstreams,
  hiddenFiles,
  judgeEdit,
  renameHidden,
  replaceDials,
  replaceUpstreams,
  sameSite,
  sameUpstream,
  variableAddressLine,
} from '../../../src/plan/caddyfile.ts'

const found = (text: string, wanted?: { site?: string; upstream?: string }) =>
  findUpstreams(text, wanted).map(({ site, upstream, line }) => `${line} ${site} ${upstream}`)

describe('upstreams are found', () => {
  const cases: Array<[title: string, text: string, expected: string[]]> = [
    [
      'in a site of one line of directives',
      'a.net {\n\treverse_proxy localhost:1\n}',
      ['2 a.net localhost:1'],
    ],
    [
      'in a file without braces',
      'a.net\n\nreverse_proxy localhost:1 localhost:2',
      ['3 a.net localhost:1', '3 a.net localhost:2'],
    ],
    ['after the global options', '{\n\tadmin :2019\n}\na.net {\n\treverse_proxy :1\n}', ['5 a.net :1']],
    [
      'after a matcher',
      'a.net {\n\treverse_proxy @ws b:1\n\treverse_proxy /x b:2\n\treverse_proxy * b:3\n}',
      ['2 a.net b:1', '3 a.net b:2', '4 a.net b:3'],
    ],
    [
      'in nested blocks',
      'a.net {\n\troute {\n\t\thandle /x {\n\t\t\treverse_proxy b:1\n\t\t}\n\t}\n\thandle_errors {\n\t\treverse_proxy b:2\n\t}\n}',
      ['4 a.net b:1', '8 a.net b:2'],
    ],
    [
      'behind "to", but only in a reverse_proxy',
      'a.net {\n\treverse_proxy {\n\t\tto b:1 b:2\n\t\theader_up X y:9\n\t}\n\tfoo {\n\t\tto b:3\n\t}\n}',
      ['3 a.net b:1', '3 a.net b:2'],
    ],
    [
      'with and without a scheme, never by https',
      'a.net {\n\treverse_proxy http://b:1 h2c://b:2\n\treverse_proxy https://b:3\n}',
      ['2 a.net b:1', '2 a.net b:2'],
    ],
    ['in quotes', 'a.net {\n\treverse_proxy "b:1" `b:2`\n}', ['2 a.net b:1', '2 a.net b:2']],
    ['on a continued line', 'a.net {\n\treverse_proxy b:1 \\\n\t\tb:2\n}', ['2 a.net b:1', '3 a.net b:2']],
    ['but not in a comment', 'a.net {\n\t# reverse_proxy b:1\n\treverse_proxy b:2 # b:3\n}', ['3 a.net b:2']],
    [
      'but not in a heredoc',
      'a.net {\n\trespond <<END\n\t\treverse_proxy b:1\n\t\t}\n\t\tEND 200\n\treverse_proxy b:2\n}',
      ['6 a.net b:2'],
    ],
    [
      'but not in a quoted text of several lines',
      'a.net {\n\trespond "\n\treverse_proxy b:1\n}\\""\n\treverse_proxy b:2\n}',
      ['5 a.net b:2'],
    ],
    [
      'but not in snippets, named routes and imports',
      '(s) {\n\treverse_proxy b:1\n}\n&(r) {\n\treverse_proxy b:2\n}\nimport sites/*\na.net {\n\timport s\n\treverse_proxy b:3\n}',
      ['10 a.net b:3'],
    ],
    ['but not where an environment variable stands', 'a.net {\n\treverse_proxy {$UP:localhost:1}\n}', []],
    [
      'with CRLF',
      'a.net {\r\n\treverse_proxy b:1\r\n}\r\nc.net {\r\n\treverse_proxy b:2\r\n}\r\n',
      ['2 a.net b:1', '5 c.net b:2'],
    ],
  ]
  for (const [title, text, expected] of cases) test(title, () => expect(found(text)).toEqual(expected))

  test('by any address of a block, on one line or several', () => {
    const text = 'a.net, b.net:9443,\nhttp://c.net {\n\treverse_proxy x:1\n}\n'
    for (const site of ['https://a.net', 'B.net:9443/', 'http://c.net:80'])
      expect(found(text, { site })).toHaveLength(1)
    expect(found(text, { site: 'https://c.net' })).toEqual([])
  })

  test('only in the site asked for, by any spelling of this machine', () => {
    const text =
      'a.net {\n\treverse_proxy 127.0.0.1:8288\n}\nb.net {\n\treverse_proxy [::1]:8288 localhost:82\n}\n'
    expect(found(text, { site: 'b.net', upstream: 'localhost:8288' })).toEqual(['5 b.net [::1]:8288'])
    expect(found(text, { upstream: 'localhost:8288' })).toHaveLength(2)
  })
})

test('a replacement keeps every other character: CRLF, BOM, quotes, scheme, non-ASCII text', () => {
  const text =
    '\ufeff# größer 🦊\r\na.net {\r\n\trespond /é "ü b:1"\r\n\treverse_proxy http://b:1 "b:1"\r\n}\r\n'
  const edits = findUpstreams(text, { upstream: 'b:1' }).map((each) => ({ ...each, to: 'longer.example:22' }))
  const after = replaceUpstreams(text, edits)
  expect(after).toBe(text.replace('http://b:1 "b:1"', 'http://longer.example:22 "longer.example:22"'))
  const back = findUpstreams(after, { upstream: 'longer.example:22' }).map((each) => ({ ...each, to: 'b:1' }))
  expect(replaceUpstreams(after, back)).toBe(text)
})

test('upstreams and sites are compared by meaning', () => {
  expect(sameUpstream('http://127.0.0.1:1', 'LocalHost:1')).toBe(true)
  expect(sameUpstream(':1', '[::1]:1')).toBe(true)
  expect(sameUpstream('localhost:1', 'localhost:11')).toBe(false)
  expect(sameSite('https://A.net:443/', 'a.net')).toBe(true)
  expect(sameSite(':8290', 'http://:8290')).toBe(true)
  expect(sameSite('http://a.net', 'a.net')).toBe(false)
})

const proxy = (...dials: string[]) => ({
  handler: 'reverse_proxy',
  upstreams: dials.map((dial) => ({ dial })),
})
const configOf = (a: string, b: string) => ({
  apps: {
    http: {
      servers: {
        srv1: {
          listen: [':9443'],
          routes: [
            {
              match: [{ host: ['a.net'] }],
              handle: [{ handler: 'subroute', routes: [{ handle: [proxy(a)] }] }],
            },
          ],
        },
        srv0: { listen: ['127.0.0.1:8290'], routes: [{ handle: [proxy(b)] }] },
      },
    },
  },
})

describe("Caddy's JSON", () => {
  const before = configOf('localhost:1', 'localhost:1')

  test('tells what a site reaches, by listener and name', () => {
    expect(adaptedDials(configOf('x:1', 'y:1'), 'https://a.net:9443')).toEqual(['x:1'])
    expect(adaptedDials(configOf('x:1', 'y:1'), ':8290')).toEqual(['y:1'])
    expect(adaptedDials(configOf('x:1', 'y:1'), 'a.net:8290')).toEqual([])
    expect(adaptedDials(null, ':8290')).toEqual([])
  })

  test('is changed only in the sites named, in a copy', () => {
    const after = replaceDials(before, [{ sites: ['a.net:9443'], from: '127.0.0.1:1', to: 'x:1' }])
    expect(after).toEqual(configOf('x:1', 'localhost:1'))
    expect(before).toEqual(configOf('localhost:1', 'localhost:1'))
  })

  test('differs leaf by leaf', () => {
    expect(diffAdapted({ a: [1, { 'b/c': 2 }], same: {} }, { a: [1, { 'b/c': 3 }, 4], same: {} })).toEqual([
      { path: '/a/1/b~1c', before: 2, after: 3 },
      { path: '/a/2', before: undefined, after: 4 },
    ])
    expect(diffAdapted(null, { a: 1 })).toEqual([{ path: '', before: null, after: { a: 1 } }])
  })

  test('judges an edit: exactly the dials meant, and each token must have had an effect', () => {
    const edit = { upstream: '127.0.0.1:1', to: 'x:1' }
    expect(judgeEdit(before, configOf('x:1', 'localhost:1'), [edit])).toBeUndefined()
    expect(judgeEdit(before, configOf('x:1', 'x:1'), [edit])).toBeUndefined()
    expect(judgeEdit(before, configOf('x:1', 'y:1'), [edit])?.after).toBe('y:1')
    expect(judgeEdit(before, { ...configOf('x:1', 'localhost:1'), admin: {} }, [edit])?.path).toBe('/admin')
    expect(judgeEdit(before, configOf('x:1', 'localhost:1'), [edit, edit])?.path).toBe(
      '(a token without effect)',
    )
  })
})

describe("the Caddyfile's own name in a config", () => {
  const server = (...hide: string[]) => ({ handler: 'file_server', hide })
  const config = {
    routes: [{ handle: [server('.git', '/c/Caddyfile')] }, { handle: [server('/c/Caddyfile')] }],
  }

  test('is what file servers hide, at any depth, and nothing else that is called hide', () => {
    const other = { handler: 'of a plugin', hide: ['/c/Caddyfile'] }
    expect(hiddenFiles({ ...config, other })).toEqual(['.git', '/c/Caddyfile', '/c/Caddyfile'])
    expect(renameHidden({ other }, ['/c/Caddyfile'])).toEqual({ other })
  })

  test('is taken out or changed; a list that has nothing else is gone, as Caddy would have it', () => {
    expect(renameHidden(config, ['/c/Caddyfile'])).toEqual({
      routes: [{ handle: [server('.git')] }, { handle: [{ handler: 'file_server' }] }],
    })
    expect(hiddenFiles(renameHidden(config, ['/c/Caddyfile'], './-'))).toEqual(['.git', './-', './-'])
    expect(renameHidden(server('/a', '/b', './-'), ['/a', '/b'], './-')).toEqual(server('./-'))
  })
})

test('the line of a block whose address holds a variable, however its other addresses are written', () => {
  const text = '# {$X}\n{$HOST}:1, https://a.net {\n}\nb.net {\n\trespond {$WORD}\n}\n'
  expect(['{$HOST}:1', 'a.net:443', 'b.net', 'c.net'].map((site) => variableAddressLine(text, site))).toEqual(
    [...[2, 2, undefined, undefined]],
  )
})
