import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The Caddyfiles of test/fixtures/caddyfiles, named by the trap they hold, and what becomes of a route in each. */
export const fixtureFolder = join(import.meta.dirname, '../fixtures/caddyfiles')
export const fixtureText = (name: string) => readFileSync(join(fixtureFolder, `${name}.caddyfile`), 'utf8')
export const file = '/home/joel/.local/caddy/Caddyfile'

const device = 'inngest.tail7af24.ts.net:8288'
const panda = 'https://panda.tail7af24.ts.net'

type Edited = {
  fixture: string
  site: string
  upstream: string
  whole: boolean
  lines: Array<[from: number, to: number]>
  /** What Caddy's JSON says of it, where the text alone looks well. */
  judged?: 'caddy-removal-leaks'
}
const whole = (fixture: string, site: string, from: number, to: number, upstream = device): Edited => ({
  fixture,
  site,
  upstream,
  whole: true,
  lines: [[from, to]],
})
const directive = (fixture: string, site: string, ...lines: Edited['lines']): Edited => ({
  fixture,
  site,
  upstream: device,
  whole: false,
  lines,
})

export const editedRoutes: Edited[] = [
  whole('panda', `${panda}:9443`, 18, 21),
  whole('panda', `${panda}:8290`, 24, 29, 'inngest.tail7af24.ts.net:8289'),
  whole('panda', `${panda}:7443`, 45, 48, 'livekit.tail7af24.ts.net:7880'),
  whole('panda', `${panda}:6443`, 50, 53, 'qdrant.tail7af24.ts.net:6333'),
  directive('funnel-fallback-in-handle', 'http://localhost:8443', [10, 10]),
  whole('two-sites-one-server', 'https://a.net', 1, 3),
  whole('adjacent-without-blank-lines', 'a.net', 1, 3),
  whole('adjacent-without-blank-lines', 'b.net', 4, 6),
  whole('adjacent-without-blank-lines', 'c.net', 7, 9),
  whole('named-matcher', 'a.net', 1, 8),
  { ...directive('path-then-file-server', 'a.net', [3, 3]), judged: 'caddy-removal-leaks' },
  directive('path-then-other-proxy-in-handles', 'a.net', [3, 3]),
  directive('handles-with-a-fallback', 'a.net', [3, 5]),
  whole('snippet-only-dress', 'a.net:9443', 6, 9),
  directive('snippet-answers', 'a.net', [6, 6]),
  directive('import-of-a-file', 'a.net', [3, 3]),
  whole('comments-in-odd-places', 'a.net', 2, 6),
  whole('crlf', 'a.net', 2, 4),
  whole('crlf-no-final-newline', 'a.net', 4, 6),
  whole('bom', 'a.net', 1, 3),
  whole('no-braces', 'a.net', 2, 5),
  whole('heredoc', 'a.net', 1, 7),
  whole('placeholder-beside', 'a.net', 1, 6),
  whole('several-addresses', 'b.net:9443', 1, 4),
  whole('to-in-the-block', 'a.net', 1, 6),
  directive('continued-line', 'a.net', [4, 5]),
  { ...whole('wildcard-behind', 'a.net', 4, 6), judged: 'caddy-removal-leaks' },
  { ...whole('catch-all-port', 'a.net:9443', 4, 6), judged: 'caddy-removal-leaks' },
  directive('twice-in-one-site', 'a.net', [3, 3], [6, 6]),
  whole('own-logs-and-certificates', 'a.net', 1, 7),
  whole('indented-with-blanks-and-tabs', 'a.net', 1, 3),
  whole('handle-errors', 'a.net', 1, 6),
  whole('global-options-and-named-routes', 'a.net', 22, 24),
  whole('file-server-beside', 'a.net', 1, 3),
  directive('file-server-in-handle-path', 'a.net', [7, 7]),
  directive('file-server-in-a-snippet', 'a.net', [10, 10]),
  whole('php-beside', 'a.net', 6, 8),
  whole('env-in-another-site', 'a.net', 4, 6),
]

type Refused = { fixture: string; site: string; upstream: string; code: string; line?: number }
const refused = (fixture: string, code: string, line?: number): Refused => ({
  fixture,
  site: fixture === 'env-in-the-address' ? 'a.net:9443' : 'a.net',
  upstream: device,
  code,
  ...(line && { line }),
})
export const refusedRoutes: Refused[] = [
  refused('comment-ends-in-backslash', 'caddy-removal-refused', 4),
  refused('env-in-the-address', 'caddy-route-not-found', 1),
  refused('env-in-the-upstream', 'caddy-route-not-found', 1),
  refused('two-upstreams', 'caddy-removal-refused', 2),
  refused('opens-on-the-same-line', 'caddy-removal-refused', 1),
  refused('next-site-on-the-last-line', 'caddy-removal-refused', 3),
  refused('snippet-holds-the-proxy', 'caddy-route-not-found', 4),
]

const switched = (fixture: string, site: string, ...lines: number[]) => ({ fixture, site, lines })
/** The lines that hold the upstream of a site, also where its route could not be taken out as a whole. */
export const switchedRoutes = [
  switched('funnel-fallback-in-handle', 'http://localhost:8443', 10),
  switched('panda', `${panda}:9443`, 20),
  switched('two-sites-one-server', 'https://a.net', 2),
  switched('adjacent-without-blank-lines', 'a.net', 2),
  switched('named-matcher', 'a.net', 6),
  switched('path-then-file-server', 'a.net', 3),
  switched('path-then-other-proxy-in-handles', 'a.net', 3),
  switched('handles-with-a-fallback', 'a.net', 3),
  switched('snippet-only-dress', 'a.net:9443', 8),
  switched('snippet-answers', 'a.net', 6),
  switched('import-of-a-file', 'a.net', 3),
  switched('comments-in-odd-places', 'a.net', 4),
  switched('crlf', 'a.net', 3),
  switched('crlf-no-final-newline', 'a.net', 5),
  switched('bom', 'a.net', 2),
  switched('no-braces', 'a.net', 5),
  switched('heredoc', 'a.net', 6),
  switched('placeholder-beside', 'a.net', 3),
  switched('several-addresses', 'b.net:9443', 3),
  switched('to-in-the-block', 'a.net', 3),
  switched('continued-line', 'a.net', 5),
  switched('wildcard-behind', 'a.net', 5),
  switched('catch-all-port', 'a.net:9443', 5),
  switched('twice-in-one-site', 'a.net', 3, 6),
  switched('own-logs-and-certificates', 'a.net', 6),
  switched('indented-with-blanks-and-tabs', 'a.net', 2),
  switched('handle-errors', 'a.net', 2, 4),
  switched('global-options-and-named-routes', 'a.net', 23),
  switched('comment-ends-in-backslash', 'a.net', 5),
  switched('two-upstreams', 'a.net', 2),
  switched('opens-on-the-same-line', 'a.net', 1),
  switched('next-site-on-the-last-line', 'a.net', 2),
  switched('file-server-beside', 'a.net', 2),
  switched('file-server-in-handle-path', 'a.net', 7),
  switched('file-server-in-a-snippet', 'a.net', 10),
  switched('php-beside', 'a.net', 7),
  switched('env-in-another-site', 'a.net', 5),
]
/** Those whose upstream stands where no edit of a token would find it. */
export const unswitchable = refusedRoutes.filter(({ code }) => code === 'caddy-route-not-found')
