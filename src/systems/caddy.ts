import { createHash } from 'node:crypto'
import { readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { execa } from 'execa'
import { lock } from 'proper-lockfile'
import { messageOf, OnehopError } from '../errors.ts'
import {
  adaptedDials,
  diffAdapted,
  findUpstreams,
  judgeEdit,
  type Route,
  replaceDials,
  replaceUpstreams,
  sameUpstream,
  type Upstream,
} from '../plan/caddyfile.ts'
import { createCaddyAdmin, reasonIn } from './caddy-admin.ts'
import { replaceFile } from './replace-file.ts'

/** A route as it stands in the file: `upstream` is its host:port as written, to be given as `to` when it is undone. */
export type FoundRoute = Route & { current: 'from' | 'to'; upstream: string; line: number }

/**
 * Caddy: its file, its admin API and its binary. The file is what we edit: a change by the API alone is lost at the next
 * `caddy reload`. Caddy itself is the judge of each edit (`caddy adapt`), and is asked afterwards what it runs.
 *
 * @throws OnehopError caddy-unreachable, caddy-missing, caddy-file-unreadable, caddy-edit-refused
 */
export function createCaddy({ file, admin, bin = 'caddy' }: Options) {
  const { running, load } = createCaddyAdmin({ admin, file })

  /** `caddy adapt`. Imports are relative to the folder of the name that Caddy is given, which may be a symlink. */
  async function adaptUnlocked(text: string): Promise<unknown> {
    const draft = join(dirname(file), `.${basename(file)}.onehop-adapt`)
    try {
      await writeFile(draft, text, { mode: 0o600 }).catch(unreadable)
      const { exitCode, stdout, stderr, failed, shortMessage } = await execa(
        bin,
        ['adapt', '--config', draft, '--adapter', 'caddyfile'],
        {
          reject: false,
          timeout: 30_000,
        },
      )
      if (!failed) return JSON.parse(stdout)
      if (exitCode === undefined) throw new OnehopError('caddy-missing', { bin, message: shortMessage ?? '' })
      throw new OnehopError('caddy-edit-refused', { file, message: reasonIn(stderr).replaceAll(draft, file) })
    } finally {
      await rm(draft, { force: true })
    }
  }

  /** @returns the text (exact: a file that is not UTF-8 is refused), its hash, and the real file behind a symlink */
  async function readCaddyfile(): Promise<Caddyfile> {
    const path = await realpath(file).catch(unreadable)
    const [bytes, { mode, uid, gid }] = await Promise.all([readFile(path), stat(path)]).catch(unreadable)
    const text = bytes.toString('utf8')
    if (!Buffer.from(text).equals(bytes)) return unreadable(new Error('it is not UTF-8'))
    return {
      text,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      path,
      mode: mode & 0o7777,
      uid,
      gid,
    }
  }

  function unreadable(thrown: unknown): never {
    throw new OnehopError('caddy-file-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
  }

  /** One writer at a time, also across processes. */
  async function locked<T>(work: (stillOurs: () => void) => Promise<T>): Promise<T> {
    let lost: Error | undefined
    const release = await lock(file, {
      stale: 10_000,
      retries: { retries: 100, minTimeout: 50, maxTimeout: 500 },
      onCompromised: (error) => {
        lost = error
      },
    }).catch(unreadable)
    const stillOurs = () => (lost ? unreadable(lost) : undefined)
    return work(stillOurs).finally(() => (lost ? undefined : release()))
  }

  /** Where each route stands. One route's tokens must be written alike, or an undo could not tell them apart. */
  async function locate(text: string, routes: Route[]): Promise<Located[]> {
    const located = routes.map((route) => {
      const all = findUpstreams(text, { site: route.site })
      const tokens = all.filter(
        ({ upstream }) => sameUpstream(upstream, route.from) || sameUpstream(upstream, route.to),
      )
      return { route, all, tokens }
    })
    const absent = located.filter(({ tokens }) => tokens.length === 0)
    const adapted = absent.length > 0 ? await adaptUnlocked(text) : undefined
    for (const { route, all } of absent) {
      const { site, from, to } = route
      const hidden = adaptedDials(adapted, site).some(
        (dial) => sameUpstream(dial, from) || sameUpstream(dial, to),
      )
      if (hidden) throw new OnehopError('caddy-route-not-in-file', { file, site, upstream: from })
      if (all.length === 0) throw new OnehopError('caddy-route-not-found', { file, site, upstream: from })
    }
    return located.map(({ route, all, tokens }) => {
      const [first] = tokens
      if (first && tokens.every(({ upstream }) => upstream === first.upstream))
        return { route, tokens, first }
      const found = [...new Set((first ? tokens : all).map(({ upstream }) => upstream))].join(' and ')
      throw new OnehopError('caddy-tokens-changed', {
        file,
        line: (first ?? all[0])?.line ?? 0,
        found,
        ...route,
      })
    })
  }

  async function switchUnlocked(
    routes: Route[],
    expectRunning: boolean,
    stillOurs: () => void,
  ): Promise<Switched> {
    const before = await readCaddyfile()
    const located = await locate(before.text, routes)
    const edits = located.flatMap(({ route: { to }, tokens }) =>
      tokens.flatMap((token) => (sameUpstream(token.upstream, to) ? [] : [{ ...token, to }])),
    )
    const text = replaceUpstreams(before.text, edits)
    const ran = await running()
    const adapted = await adaptUnlocked(text)
    if (edits.length > 0) refuseUnmeant(judgeEdit(await adaptUnlocked(before.text), adapted, edits))
    for (const { site, from } of routes)
      if (adaptedDials(adapted, site).some((dial) => sameUpstream(dial, from)))
        throw new OnehopError('caddy-route-not-in-file', { file, site, upstream: from })

    // What Caddy runs, with our own dials moved: equal to the new file, also when an earlier attempt was killed between
    // writing and loading, unless somebody else has edited the file and not reloaded.
    const target = replaceDials(
      ran,
      located.map(({ route, first }) => ({ ...route, sites: first.sites })),
    )
    const [drift] = expectRunning ? diffAdapted(adapted, target) : []
    if (drift) throw new OnehopError('caddy-file-not-running', { file, path: drift.path })

    stillOurs()
    if ((await readCaddyfile()).sha256 !== before.sha256)
      return switchUnlocked(routes, expectRunning, stillOurs)
    if (edits.length > 0) await replaceFile(before, text).catch(unreadable)
    if (isDeepStrictEqual(target, ran)) return { changed: edits.length, reloaded: false }
    try {
      await load(target)
    } catch (thrown) {
      throw await putBack(thrown, { before, text, ran })
    }
    return { changed: edits.length, reloaded: true }
  }

  function refuseUnmeant(difference: ReturnType<typeof judgeEdit>): void {
    if (!difference) return
    const { path, before, after } = difference
    throw new OnehopError('caddy-edit-unexpected', {
      file,
      path,
      found: `${JSON.stringify(before)} -> ${JSON.stringify(after)}`,
    })
  }

  async function putBack(
    thrown: unknown,
    { before, text, ran }: { before: Caddyfile; text: string; ran: unknown },
  ): Promise<unknown> {
    const message = thrown instanceof OnehopError ? String(thrown.details.message) : messageOf(thrown)
    const problems: string[] = []
    const failed = (what: string) => (error: unknown) => void problems.push(`${what}: ${messageOf(error)}`)
    const now = await readCaddyfile().catch(failed('the file could not be read again'))
    if (now?.text === text)
      await replaceFile(before, before.text).catch(failed('the file could not be put back'))
    else if (now) problems.push('the file was edited meanwhile and stays as it is')
    await load(ran).catch(failed('the old config could not be loaded'))
    return new OnehopError(
      'caddy-did-not-take',
      { file, message: [message, ...problems].join('; but ') },
      { cause: thrown },
    )
  }

  return {
    running,
    load,
    readFile: readCaddyfile,

    /** Caddy's JSON for a Caddyfile's text. @throws OnehopError caddy-edit-refused with Caddy's own message and line */
    adapt: (text: string): Promise<unknown> => locked(() => adaptUnlocked(text)),

    /** The version of the binary, like 2.11.9. @throws OnehopError caddy-too-old below 2.8, caddy-missing */
    async version(): Promise<string> {
      const ask = (command: string) =>
        execa(bin, [command], { timeout: 30_000 }).catch((thrown: unknown) => {
          throw new OnehopError(
            'caddy-missing',
            { bin, message: messageOf(thrown).split('\n')[0] ?? '' },
            { cause: thrown },
          )
        })
      const short = (await ask('version')).stdout
      // A Caddy built by `go install` calls its version "unknown", but knows its module.
      const text = /^v?\d/.test(short)
        ? short
        : (/^mod\t\S+\t(\S+)/m.exec((await ask('build-info')).stdout)?.[1] ?? short)
      const [, found = text, major = 0, minor = 0] = /^v?((\d+)\.(\d+)[^\s]*)/.exec(text) ?? []
      if (Number(major) * 1000 + Number(minor) < 2008)
        throw new OnehopError('caddy-too-old', { found, expected: '2.8 or later' })
      return found
    },

    /**
     * What edits would do to the file; nothing is changed and Caddy need not run. Without `site`, all sites are meant.
     *
     * @throws OnehopError caddy-route-not-found, caddy-edit-refused, caddy-edit-unexpected
     */
    async preview({ edits }: { edits: PreviewEdit[] }): Promise<Preview> {
      const { text: before } = await readCaddyfile()
      const tokens = edits.flatMap(({ from, to, site }) => {
        const found = findUpstreams(before, { site, upstream: from })
        if (found.length === 0)
          throw new OnehopError('caddy-route-not-found', { file, site: site ?? '(any)', upstream: from })
        return found.map((token) => ({ ...token, to }))
      })
      const after = replaceUpstreams(before, tokens)
      await locked(async () =>
        refuseUnmeant(judgeEdit(await adaptUnlocked(before), await adaptUnlocked(after), tokens)),
      )
      return {
        before,
        after,
        changed: tokens.map(({ site, line, upstream, to }) => ({ site, line, from: upstream, to })),
      }
    },

    /** Each route as it stands in the file. @throws OnehopError caddy-route-not-found, caddy-route-not-in-file, caddy-tokens-changed */
    async readRoutes(routes: Route[]): Promise<FoundRoute[]> {
      const { text } = await readCaddyfile()
      const located = await locked(() => locate(text, routes))
      return located.map(({ route, first: { upstream, line } }) => ({
        ...route,
        current: sameUpstream(upstream, route.to) ? 'to' : 'from',
        upstream,
        line,
      }))
    },

    /**
     * Compare-and-swap of routes: one edit of the file and one reload for all of them; neither if all is as wanted.
     * With `expectRunning: false` (an undo), a file that Caddy does not run is no obstacle: our tokens are changed in the
     * file and our dials in what runs, and what others left in either stays.
     *
     * @returns the number of tokens written, and whether Caddy was given a new config
     * @throws OnehopError caddy-tokens-changed, caddy-route-not-found, caddy-route-not-in-file, caddy-file-not-running,
     *   caddy-edit-refused, caddy-edit-unexpected (nothing was touched), caddy-did-not-take (the old routes are back)
     */
    switchRoutes(
      routes: Route[],
      { expectRunning = true }: { expectRunning?: boolean } = {},
    ): Promise<Switched> {
      return locked((stillOurs) => switchUnlocked(routes, expectRunning, stillOurs))
    },
  }
}

type Options = { file: string; admin: string; bin?: string | undefined }
export type Switched = { changed: number; reloaded: boolean }
export type PreviewEdit = { from: string; to: string; site?: string | undefined }
export type Preview = {
  before: string
  after: string
  changed: Array<{ site: string; line: number; from: string; to: string }>
}
type Located = { route: Route; tokens: Upstream[]; first: Upstream }
type Caddyfile = { text: string; sha256: string; path: string; mode: number; uid: number; gid: number }
