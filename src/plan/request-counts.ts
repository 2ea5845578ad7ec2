import { sameSite } from './caddyfile.ts'
import { dig, isBranch, list } from './json.ts'

/**
 * Caddy's request counters (`caddy_http_requests_total` of its /metrics), told apart by server. `config` is what Caddy
 * runs: it says whether requests are counted, and which server listens where.
 *
 * Undefined where nothing is counted. No series at all counts as nothing: after a reload that failed, Caddy 2.11 shows
 * an empty counter for ever, which must not be read as "no requests". One request to any site makes it trustworthy.
 */
export function requestCountsOf(metrics: string, config: unknown): RequestCounts | undefined {
  const http = dig(config, 'apps', 'http')
  const series = seriesOf(metrics)
  const value = (name: string) => series.find((each) => each.name === name)?.value
  const loaded = value('caddy_config_last_reload_success_timestamp_seconds')
  const counted = series.filter(({ name }) => name === 'caddy_http_requests_total')
  if (!countsRequests(config) || !loaded || value('caddy_config_last_reload_successful') !== 1)
    return undefined
  if (counted.length === 0) return undefined
  const servers = Object.entries(dig(http, 'servers')).map(([server, settings]) => {
    const own = series.filter(({ labels }) => labels.server === server)
    const sum = (name: string, of = own) =>
      of.filter((each) => each.name === name).reduce((total, each) => total + each.value, 0)
    const hosts = new Set(own.flatMap(({ labels }) => labels.host ?? []))
    return {
      ports: list(dig(settings).listen).map((listen) => Number(/:(\d+)$/.exec(String(listen))?.[1] ?? 0)),
      requests: sum('caddy_http_requests_total'),
      inFlight: sum('caddy_http_requests_in_flight'),
      byHost: Object.fromEntries(
        [...hosts].map((host) => {
          const named = own.filter(({ labels }) => labels.host === host)
          const requests = sum('caddy_http_requests_total', named)
          return [host, { requests, inFlight: sum('caddy_http_requests_in_flight', named) }]
        }),
      ),
    }
  })
  return { since: loaded * 1000, servers }
}

/** Whether a config tells Caddy to count requests. */
export const countsRequests = (config: unknown) => isBranch(dig(config, 'apps', 'http').metrics)

/**
 * What may have been for one site: all requests of its server but those that Caddy counted for another name. Of a name
 * with a port (`panda:9443`) Caddy 2.11 counts under `_other`, which may be anybody's, so this is never too low.
 */
export function siteRequests(
  { since, servers }: RequestCounts,
  site: string,
): { since: number; requests: number; inFlight: number } | undefined {
  const [, scheme, host = '', written] = /^(?:(https?):\/\/)?([^:/]*)(?::(\d+))?/.exec(site) ?? []
  const port = Number(written ?? (scheme === 'http' ? 80 : 443))
  const server = servers.find(({ ports }) => ports.includes(port))
  if (!server) return undefined
  const others = Object.entries(server.byHost)
    .filter(([name]) => name !== '_other' && host !== '' && !host.includes('*') && !sameSite(name, host))
    .map(([, counts]) => counts)
  return {
    since,
    requests: others.reduce((rest, each) => rest - each.requests, server.requests),
    inFlight: others.reduce((rest, each) => rest - each.inFlight, server.inFlight),
  }
}

/** `since`: when the counters began, in ms: every reload that changes the config sets them to zero. `inFlight` are open now. */
export type RequestCounts = {
  since: number
  servers: Array<Counts & { ports: number[]; byHost: Record<string, Counts> }>
}
type Counts = { requests: number; inFlight: number }

/** Prometheus text: `name{label="value",...} number`. */
function seriesOf(metrics: string) {
  return [...metrics.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels: Object.fromEntries(
      [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label, text]),
    ) as Record<string, string>,
    value: Number(value),
  }))
}
