import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { type Disk, realDisk, removeDrafts, replaceFile } from '../disk.ts'
import { messageOf, OnehopError } from '../errors.ts'
import { NoAnswer } from '../in-time.ts'
import { type CaddyVariable, caddyNotRunning } from '../plan/caddy-variables.ts'
import {
  adaptedDials,
  diffAdapted,
  findUpstreams,
  hasVariable,
  judgeEdit,
  type Route,
  replaceDials,
  replaceUpstreams,
  sameUpstream,
  type Upstream,
  variableAddressLine,
  whereabouts,
} from '../plan/caddyfile.ts'
import { type CaddyAdapter, createCaddyAdapter, type FileName } from './caddy-adapter.ts'
import { createCaddyAdmin } from './caddy-admin.ts'
import { readVariables } from './caddy-imports.ts'

/** A route as it stands in the file: `upstream` is its host:port as written, to be given as `to` when it is undone. */
export type FoundRoute = Route & { current: 'from' | 'to'; upstream: string; line: number }

/**
 * Caddy: its file, its admin API and its binary. The file is what we edit: a change by the API alone is lost at the next
 * `caddy reload`. Caddy itself is the judge of each edit (`caddy adapt`), and is asked afterwards what it runs.
 *
 * @throws OnehopError caddy-unreachable, caddy-missing, caddy-file-unreadable, caddy-edit-refused
 */
export function createCaddy({ file, admin, bin = 'caddy', disk = realDisk, server, adapter }: Options) {
  const { running, load } = server ?? createCaddyAdmin({ admin, file })
  const { version, readsStdin, adaptFile, adaptAs, adaptText, withoutOwnName } = adapterOf()

  function adapterOf(): CaddyAdapter {
    const real = createCaddyAdapter({ file, bin, disk })
    if (!adapter) return real
    const adaptAs = async () => adapter((await disk.readFile(file)).toString('utf8'))
    return {
      ...{ ...real, adaptAs, adaptText: adapter },
      readsStdin: async () => true,
      adaptFile: async () => ({ adapted: await adaptAs(), name: { config: file } }),
      withoutOwnName: async (config) => config,
    }
  }

  /** @returns the text (exact: a file that is not UTF-8 is refused), its hash, and the real file behind a symlink */
  async function readCaddyfile(): Promise<Caddyfile> {
    const path = await disk.realpath(file).catch(unreadable)
    const [bytes, { mode, uid, gid }] = await Promise.all([disk.readFile(path), disk.stat(path)]).catch(
      unreadable,
    )
    const text = bytes.toString('utf8')
    if (!Buffer.from(text).equals(bytes)) return unreadable(new Error('it is not UTF-8'))
    return {
      text,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      path,
      mode: mode & 0o7777,
      owner: { uid, gid },
    }
  }

  function unreadable(thrown: unknown): never {
    throw new OnehopError('caddy-file-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
  }

  /** One writer at a time, also across processes. */
  async function locked<T>(work: (stillOurs: () => void) => Promise<T>): Promise<T> {
    let lost: Error | undefined
    const release = await disk
      .lock(file, {
        stale: 10_000,
        // Some seconds more than a lock stays that a killed process has left.
        retries: { retries: 27, minTimeout: 50, maxTimeout: 500 },
        onCompromised: (error) => {
          lost = error
        },
      })
      .catch((thrown: NodeJS.ErrnoException) =>
        unreadable(thrown.code === 'ELOCKED' ? new NoAnswer(0, 'another process holds its lock') : thrown),
      )
    const stillOurs = () => (lost ? unreadable(lost) : undefined)
    const tidied = async () => {
      // The folder is the user's: a draft of a worker that was killed before its rename must not stay there.
      await removeDrafts(disk, await disk.realpath(file).catch(unreadable)).catch(unreadable)
      return work(stillOurs)
    }
    return tidied().finally(() => (lost ? undefined : release()))
  }

  /** For what only reads: a Caddy that needs a draft in the folder has one draft at a time there. */
  const reading = async <T>(work: () => Promise<T>): Promise<T> =>
    (await readsStdin()) ? work() : locked(work)

  /** The file is not what Caddy runs (`ran`). */
  async function notRunning(path: string, ran: unknown): Promise<OnehopError> {
    return caddyNotRunning({ file, admin, path, variables: await unconfirmed(ran) })
  }

  /** The file's variables, but for those whose value here stands in what Caddy runs: they have the same value there. */
  async function unconfirmed(ran: unknown): Promise<CaddyVariable[]> {
    const running = JSON.stringify(ran) ?? ''
    return (await readVariables(disk, file)).filter(({ name }) => {
      const value = JSON.stringify(process.env[name] ?? '').slice(1, -1)
      return value === '' || !running.includes(value)
    })
  }

  function refuseVariable(text: string, site: string): void {
    const line = variableAddressLine(text, site)
    if (line !== undefined) throw new OnehopError('caddy-address-variable', { file, line, site })
  }

  /** Where each route stands. One route's tokens must be written alike, or an undo could not tell them apart. */
  async function locate(
    text: string,
    routes: Route[],
    { force, gone, name }: EditFlags = {},
  ): Promise<Located[]> {
    for (const { site } of routes) if (hasVariable(site)) refuseVariable(text, site)
    const located = routes.map((route) => {
      const all = findUpstreams(text, { site: route.site })
      const tokens = all.filter(
        ({ upstream }) => sameUpstream(upstream, route.from) || sameUpstream(upstream, route.to),
      )
      // By force, whatever stands in the site now is replaced as well; Caddy may run either.
      const [other] = all
      return force && tokens.length === 0 && other
        ? { route, froms: [route.from, other.upstream], all, tokens: all }
        : { route, froms: [route.from], all, tokens }
    })
    const absent = located.filter(({ tokens }) => tokens.length === 0)
    const adapted = absent.length > 0 ? await adaptText(text, name) : undefined
    for (const { route, all } of absent) {
      const { site, from, to } = route
      const hidden = adaptedDials(adapted, site).some(
        (dial) => sameUpstream(dial, from) || sameUpstream(dial, to),
      )
      const details = { file, site, upstream: from, where: whereabouts(text, site) }
      if (hidden) throw new OnehopError('caddy-route-not-in-file', details)
      // A site that was renamed is not gone: what leads to the device still does.
      const isGone = gone && !adaptedDials(adapted).some((dial) => sameUpstream(dial, from))
      if (all.length === 0 && !isGone) throw new OnehopError('caddy-route-not-found', details)
    }
    return located.map(({ route, froms, all, tokens }) => {
      const [first] = tokens
      if (all.length === 0) return { route, froms, tokens, sites: [route.site] }
      if (first && tokens.every(({ upstream }) => upstream === first.upstream))
        return { route, froms, tokens, first, sites: first.sites }
      const found = [...new Set((first ? tokens : all).map(({ upstream }) => upstream))].join(' and ')
      throw new OnehopError('caddy-tokens-changed', {
        file,
        line: (first ?? all[0])?.line ?? 0,
        found,
        ...route,
      })
    })
  }

  /** A text with its routes switched, and whether Caddy's JSON before and after differ by that alone. */
  async function switched(text: string, wanted: Route[], flags: EditFlags) {
    const located = await locate(text, wanted, flags)
    const edits = located.flatMap(({ route: { to }, tokens }) =>
      tokens.flatMap((token) => (sameUpstream(token.upstream, to) ? [] : [{ ...token, to }])),
    )
    const judge = (before: unknown, after: unknown) => {
      if (edits.length > 0) refuseUnmeant(judgeEdit(before, after, edits))
      for (const { route, froms } of located)
        for (const from of froms)
          if (adaptedDials(after, route.site).some((dial) => sameUpstream(dial, from)))
            throw new OnehopError('caddy-route-not-in-file', {
              ...{ file, site: route.site, upstream: from, where: whereabouts(text, route.site) },
            })
    }
    return { text: replaceUpstreams(text, edits), located, edits, judge }
  }

  async function switchUnlocked(
    wanted: Route[],
    options: SwitchFlags,
    stillOurs: () => void,
  ): Promise<Switched> {
    const before = await readCaddyfile()
    const ran = await running()
    const { adapted: asItStands, name } = await adaptFile(ran)
    const { text, located, edits, judge } = await switched(before.text, wanted, { ...options, name })
    const after = await adaptText(text, name)
    const first = edits.length > 0 ? await adaptText(before.text, name) : after
    judge(first, after)

    const moves = located.flatMap(({ route, froms, sites }) =>
      froms.map((from) => ({ ...route, from, sites })),
    )
    // What Caddy runs, with our own dials moved.
    const target = replaceDials(ran, moves)
    if (options.expectRunning) {
      // What is loaded must be what the new file means.
      const [unmeant] = diffAdapted(after, replaceDials(first, moves))
      if (unmeant) for (const { route } of located) refuseVariable(before.text, route.site)
      refuseUnmeant(unmeant)
      // Also equal when an earlier attempt was killed between writing and loading, unless somebody else has edited the file
      // and not reloaded.
      const [drift] = diffAdapted(replaceDials(asItStands, moves), target)
      if (drift) throw await notRunning(drift.path, ran)
    }

    stillOurs()
    if (!(await stillRuns(ran)) || !(await replaceUnchanged(before, text)))
      return switchUnlocked(wanted, options, stillOurs)
    return {
      changed: edits.length,
      reloaded: await loadOrPutBack(async () => target, { before, text, ran, name }),
    }
  }

  async function editUnlocked(
    edits: FileEdit[],
    options: Required<EditOptions>,
    stillOurs: () => void,
  ): Promise<Switched> {
    const { backs, expectRunning, sites } = options
    const before = await readCaddyfile()
    const ran = await running()
    const { adapted: asItStands, name } = await adaptFile(ran)
    const bare = await withoutOwnName(ran)
    let [text, adapted] = [before.text, await adaptText(before.text, name)]
    for (const edit of edits) {
      const edited = await edit(text, name)
      if (edited.text === text) continue
      const after = await adaptText(edited.text, name)
      edited.judge(adapted, after)
      ;[text, adapted] = [edited.text, after]
    }
    const runsText = async (meaning: unknown) => isDeepStrictEqual(bare, await withoutOwnName(meaning))
    const runs = async () => {
      if (isDeepStrictEqual(ran, asItStands) || (await runsText(adapted))) return true
      // An attempt that was killed between writing and loading.
      const earlier = text === before.text ? backs.map((back) => back(text)) : []
      for (const each of new Set(earlier))
        if (each !== undefined && (await runsText(await adaptText(each, name)))) return true
      return false
    }
    const drift = (await runs()) ? undefined : (diffAdapted(asItStands, ran)[0]?.path ?? '/')
    if (drift !== undefined && expectRunning) throw await notRunning(drift, ran)
    // Nothing to write, and Caddy runs what this is about: what else is not loaded yet is no matter.
    const runsSite = (site: string) => isDeepStrictEqual(adaptedDials(ran, site), adaptedDials(adapted, site))
    if (drift !== undefined && text === before.text && sites.length > 0 && sites.every(runsSite))
      return { changed: 0, reloaded: false }

    stillOurs()
    if (!(await stillRuns(ran)) || !(await replaceUnchanged(before, text)))
      return editUnlocked(edits, options, stillOurs)
    // Loading the file would also carry out an edit that somebody else has not loaded yet.
    if (drift !== undefined) throw await notRunning(drift, ran)
    const written = async () => {
      const target = await adaptAs(name, ran)
      if (isDeepStrictEqual(await withoutOwnName(target), await withoutOwnName(adapted))) return target
      throw new Error('it reads the written file in another way than the text that was judged')
    }
    const changed = text === before.text ? 0 : 1
    return { changed, reloaded: await loadOrPutBack(written, { before, text, ran, name }) }
  }

  /** What is loaded is made of what ran: a reload by somebody else since then would be lost. */
  const stillRuns = async (ran: unknown) => isDeepStrictEqual(await running(), ran)

  /** Whether the file is still what was read; then it has the new text. It is asked last of all, with the new bytes already on disk. */
  function replaceUnchanged(before: Caddyfile, text: string): Promise<boolean> {
    const unchanged = async () => (await readCaddyfile()).sha256 === before.sha256
    return text === before.text ? unchanged() : replaceFile(disk, before, text, unchanged).catch(unreadable)
  }

  /** Makes Caddy run what the written file means, or puts file and config back; whether that took a reload. */
  async function loadOrPutBack(written: () => Promise<unknown>, back: Back): Promise<boolean> {
    try {
      const target = await written()
      if (isDeepStrictEqual(target, back.ran)) return false
      await load(target, back.name.config)
    } catch (thrown) {
      throw await putBack(thrown, back)
    }
    return true
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

  async function putBack(thrown: unknown, { before, text, ran, name }: Back): Promise<unknown> {
    const message = thrown instanceof OnehopError ? String(thrown.details.message) : messageOf(thrown)
    const problems: string[] = []
    const failed = (what: string) => (error: unknown) => void problems.push(`${what}: ${messageOf(error)}`)
    const stillOurs = async () => (await readCaddyfile()).text === text
    const back = await replaceFile(disk, before, before.text, stillOurs).catch(
      failed('the file could not be put back'),
    )
    if (back === false) problems.push('the file was edited meanwhile and stays as it is')
    await load(ran, name.config).catch(failed('the old config could not be loaded'))
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

    version,

    /**
     * Caddy's JSON for a text in the file's folder, with `namelessFile` for the file's own name.
     *
     * @throws OnehopError caddy-edit-refused with Caddy's own message and line, caddy-variables-unknown
     */
    adapt: (text: string): Promise<unknown> => reading(() => adaptText(text)),

    /** Caddy's JSON for the file as it is now. @throws OnehopError caddy-edit-refused, caddy-variables-unknown, caddy-missing */
    adaptFile: async (): Promise<unknown> => (await adaptFile()).adapted,

    /**
     * The same beside what Caddy runs (`ran`), under the name by which Caddy has read the file for that. Where the two differ,
     * `variables` are those of the environment that may be the reason.
     */
    async compareFile(ran: unknown): Promise<FileMeaning> {
      const { adapted } = await adaptFile(ran)
      return { adapted, variables: isDeepStrictEqual(adapted, ran) ? [] : await unconfirmed(ran) }
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
          throw new OnehopError('caddy-route-not-found', {
            ...{ file, site: site ?? '(any)', upstream: from, where: whereabouts(before, site) },
          })
        return found.map((token) => ({ ...token, to }))
      })
      const after = replaceUpstreams(before, tokens)
      await reading(async () =>
        refuseUnmeant(judgeEdit(await adaptText(before), await adaptText(after), tokens)),
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
      const located = await reading(() => locate(text, routes))
      return located.flatMap(({ route, first }) =>
        first
          ? {
              ...route,
              current: sameUpstream(first.upstream, route.to) ? ('to' as const) : ('from' as const),
              upstream: first.upstream,
              line: first.line,
            }
          : [],
      )
    },

    /**
     * Compare-and-swap of routes: one edit of the file and one reload for all of them; neither if all is as wanted.
     * With `expectRunning: false` (an undo), a file that Caddy does not run is no obstacle: our tokens are changed in the
     * file and our dials in what runs, and what others left in either stays. With `force`, an upstream that somebody else
     * has put in the place of ours is replaced as well; with `gone`, a site that its owner has taken out counts as switched.
     *
     * @returns the number of tokens written, and whether Caddy was given a new config
     * @throws OnehopError caddy-tokens-changed, caddy-route-not-found, caddy-route-not-in-file, caddy-file-not-running,
     *   caddy-edit-refused, caddy-edit-unexpected (nothing was touched), caddy-did-not-take (the old routes are back)
     */
    switchRoutes(routes: Route[], { expectRunning = true, ...flags }: SwitchFlags = {}): Promise<Switched> {
      return locked((stillOurs) => switchUnlocked(routes, { expectRunning, ...flags }, stillOurs))
    },

    /** The same switch as a part of a larger edit, for `editFile`. */
    switchEdit:
      (routes: Route[], flags: Omit<SwitchFlags, 'expectRunning'> = {}): FileEdit =>
      (text, name) =>
        switched(text, routes, { ...flags, ...(name && { name }) }),

    /**
     * Any other edits of the file, one after the other, with one write and one reload for all of them. Each is judged alone
     * by Caddy's JSON before and after it. `backs` are texts that Caddy may still run where an attempt was killed between
     * writing and loading, made from what that attempt has left.
     * With `expectRunning: false` (an undo), a file that Caddy does not run is edited all the same, but not loaded: that
     * is left to its owner, and said as caddy-file-not-running, unless all `sites` stand in the file and run already.
     *
     * @throws OnehopError caddy-file-not-running, caddy-edit-refused, caddy-did-not-take (the old bytes and config are back)
     */
    editFile(
      edits: FileEdit[],
      { backs = [], expectRunning = true, sites = [] }: EditOptions = {},
    ): Promise<Switched> {
      return locked((stillOurs) => editUnlocked(edits, { backs, expectRunning, sites }, stillOurs))
    },
  }
}

/** `disk`, `server` and `adapter` (of a Caddyfile's text) are Caddy's own unless others are handed in. */
type Options = {
  file: string
  admin: string
  bin?: string | undefined
  disk?: Disk
  server?: ReturnType<typeof createCaddyAdmin>
  adapter?: (text: string) => Promise<unknown>
}
/** One edit: it gives its own result back unchanged, and `judge` throws if Caddy's JSON differs by more than was meant. */
export type FileEdit = (text: string, name?: FileName) => Edited | Promise<Edited>
type Edited = { text: string; judge: (before: unknown, after: unknown) => void }
type EditOptions = {
  backs?: Array<(text: string) => string | undefined>
  expectRunning?: boolean
  sites?: string[]
}
export type FileMeaning = { adapted: unknown; variables: CaddyVariable[] }
export type Switched = { changed: number; reloaded: boolean }
export type PreviewEdit = { from: string; to: string; site?: string | undefined }
export type Preview = {
  before: string
  after: string
  changed: Array<{ site: string; line: number; from: string; to: string }>
}
export type SwitchFlags = { expectRunning?: boolean; force?: boolean; gone?: boolean }
/** What was there before an edit, and what was written. */
type Back = { before: Caddyfile; text: string; ran: unknown; name: FileName }
type EditFlags = SwitchFlags & { name?: FileName }
/** `sites`: those of the block that it stands in. One without a token is gone from the file. */
type Located = { route: Route; froms: string[]; tokens: Upstream[]; first?: Upstream; sites: string[] }
type Caddyfile = {
  text: string
  sha256: string
  path: string
  mode: number
  owner: { uid: number; gid: number }
}
