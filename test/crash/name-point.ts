import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'

/**
 * The name of a change to a file, or `undefined` for what is no effect. It says in which step it is made and what it
 * writes, and is the same in every run: the same write again, by a heartbeat or in a wait's next round, is the same point.
 */
export function nameFile(
  call: string,
  { draft, path = '' }: { draft?: string | undefined; path: string | undefined },
) {
  const file = basename(path)
  // Who holds a lock, for messages: written and removed with the lock, which every write below is made under.
  if (file.endsWith('.holder')) return undefined
  // Who uses the old paths of what is moved: looked at all the time, also when no story runs.
  if (basename(dirname(path)) === 'usage') return undefined
  if (!draft) return inStep(`${call} ${file}`)
  switch (basename(dirname(path))) {
    case 'requests':
      return nameOfRequest(JSON.parse(readFileSync(draft, 'utf8')) as Request)
    case 'services':
      return inStep(`journal ${nameOfEntry(JSON.parse(readFileSync(draft, 'utf8')) as Entry)}`)
    default:
      return inStep(file)
  }
}

/** The name of a request over HTTP, or `undefined` for what only reads and for what is the engine's own business. */
export function nameRequest({ method, url, body }: { method: string; url: URL; body: string }) {
  const path = url.pathname
  // What Tailscale's API says is part of a proof: the first time in each story.
  if (path.endsWith('/oauth/token')) return 'tailscale token'
  if (path.endsWith('/devices')) return 'tailscale devices'
  if (/^(GET|HEAD)$/i.test(method) || enginesOwn.test(path) || path.endsWith('/acl/validate'))
    return undefined
  const [, kind] = /^\/api\/v2\/(?:tailnet\/[^/]+\/)?([^/]+)/.exec(path) ?? []
  if (kind) return inStep(`tailscale ${method} ${kind}`)
  if (path.startsWith('/e/')) return inStep(`event ${eventsIn(body)}`)
  if (/^\/apis?\//.test(path)) {
    const object = path.split('/').slice(-2).join('/')
    return inStep(`kubernetes ${method} ${object}, annotations: ${annotationsIn(body) || 'none'}`)
  }
  return inStep(`${method} ${path}`)
}

/** Registration, results of steps, GraphQL: a kill around them is the same as one after the effect before. */
const enginesOwn = /^\/(fn\/register|api\/inngest|v0|v1)(\/|$)/

type Request = { state: string; phase?: string }
type Entry = {
  service: string
  state: string
  changes: Array<{ id: string; undone: boolean }>
  probe?: unknown
}

/** The step that the last request to check in was in. */
let step = 'request'
const inStep = (what: string) => `${step} > ${what}`

function nameOfRequest({ state, phase = 'request' }: Request): string {
  // The rounds of a wait are one step to us.
  step = phase.replace(/ \(\d+\)$/, '')
  return inStep(`journal request ${state}`)
}

function nameOfEntry({ service, state, changes, probe }: Entry): string {
  const done = changes.map(({ id, undone }) => (undone ? `${id} undone` : id))
  return [`${service} ${state}`, ...done, ...(probe ? ['probed'] : [])].join(', ')
}

const eventsIn = (body: string) =>
  [JSON.parse(body) as { name: string } | Array<{ name: string }>]
    .flat()
    .map((each) => each.name)
    .join(', ')

function annotationsIn(body: string): string {
  const { metadata } = JSON.parse(body) as { metadata?: { annotations?: Record<string, string> } }
  return Object.keys(metadata?.annotations ?? {})
    .map((key) => key.split('/').at(-1))
    .join(' ')
}
