import { expect, test } from 'vitest'
import { blockingRoutes } from '../../../src/plan/blocking-routes.ts'
import { fixtureText } from '../../caddy/removal-fixtures.ts'

const text = fixtureText('panda')
const route = (host: string, handler: Record<string, unknown>) => ({
  match: [{ host: [host] }],
  handle: [{ handler: 'subroute', routes: [{ handle: [{ handler: 'reverse_proxy', ...handler }] }] }],
})
const to = (...dials: string[]) => ({ upstreams: dials.map((dial) => ({ dial })) })
const config = (port: number, ...routes: unknown[]) => ({
  apps: { http: { servers: { srv0: { listen: [`:${port}`], routes } } } },
})

test("the fallback of the Funnel server still dials Inngest's port map", () => {
  expect(blockingRoutes({ text, adapted: null, port: 8288 })).toEqual([
    { site: 'http://localhost:8443', upstream: 'localhost:8288', line: 62 },
  ])
  expect(blockingRoutes({ text, adapted: null, port: 3111 })).toHaveLength(2)
  expect(blockingRoutes({ text, adapted: null, port: 6333 })).toEqual([])
})

test('a route that stands in the file is not told a second time from the JSON', () => {
  const adapted = config(
    8443,
    route('localhost', to('localhost:3111')),
    route('localhost', to('127.0.0.1:8288')),
  )
  expect(blockingRoutes({ text, adapted, port: 8288 })).toHaveLength(1)
})

test('what the file does not show is found in the JSON: imports, port ranges, dynamic and other apps', () => {
  const found = (adapted: unknown, hosts?: string[]) =>
    blockingRoutes({ text: '', adapted, port: 8288, ...(hosts && { hosts }) }).map(
      ({ site, upstream, line }) => `${line} ${site} ${upstream}`,
    )
  expect(found(config(443, route('a.net', to('localhost:8287', '[::1]:8288'))))).toEqual([
    '0 a.net:443 [::1]:8288',
  ])
  const dynamic = { dynamic_upstreams: { source: 'a', name: 'localhost', port: '8288' } }
  expect(found(config(80, route('a.net', dynamic)))).toEqual(['0 a.net:80 localhost:8288'])
  expect(found(config(80, route('a.net', to('{env.UP}'))))).toEqual(['0 a.net:80 {env.UP}'])
  const layer4 = {
    apps: { layer4: { servers: { x: { routes: [{ upstreams: [{ dial: ['localhost:8288'] }] }] } } } },
  }
  expect(found(layer4)).toEqual(['0 (another app) localhost:8288'])
  const own = config(80, route('a.net', to('panda.tail7af24.ts.net:8288')))
  expect(found(own)).toEqual([])
  expect(found(own, ['panda.tail7af24.ts.net'])).toHaveLength(1)
  expect(found(config(80, route('a.net', to('inngest.tail7af24.ts.net:8288'))))).toEqual([])
})
