import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Disk } from '../disk.ts'
import { messageOf, OnehopError } from '../errors.ts'
import { namedVariables } from '../plan/caddy-variables.ts'
import { hiddenFiles, namelessFile, renameHidden } from '../plan/caddyfile.ts'
import { reasonIn } from './caddy-admin.ts'
import { readVariables } from './caddy-imports.ts'
import { type Run, runProgram } from './run-program.ts'

/** The file as it is given to `--config`; a relative one counts from the folder `cwd`. */
export type FileName = { config: string; cwd?: string }

/**
 * `caddy adapt`. Caddy's JSON of a file depends on the name by which Caddy reads it: a `file_server` hides the Caddyfile under
 * that name, and imports are relative to its folder. So the file itself is read under the name that Caddy has for it, and a
 * text that is not in the file comes by stdin, in the folder of that name and without a name of its own.
 */
export function createCaddyAdapter({ file, bin, disk }: Options): CaddyAdapter {
  const path = resolve(file)
  // Caddy is started in other folders than ours.
  const program = bin.includes('/') ? resolve(bin) : bin
  let known: Promise<string> | undefined

  function version(): Promise<string> {
    known ??= readVersion(program).catch((thrown: unknown) => {
      known = undefined
      throw thrown
    })
    return known
  }

  async function adapt({ config, cwd }: FileName, input?: string): Promise<unknown> {
    // PWD keeps the name of a folder that is reached by a symlink.
    const isLink = cwd !== undefined && (await disk.realpath(cwd).catch(() => cwd)) !== cwd
    const { exitCode, stdout, stderr, failed, message } = await runCaddy(
      program,
      ['adapt', '--config', config, '--adapter', 'caddyfile'],
      {
        ...(cwd !== undefined && { cwd }),
        ...(isLink && { env: { PWD: cwd } }),
        ...(input !== undefined && { input }),
      },
    )
    if (!failed) return JSON.parse(stdout)
    if (exitCode === undefined) throw missing(bin, message)
    const named = config === '-' ? /(?<![^\s'])-(?=:\d)/g : config
    throw await refusal(reasonIn(stderr).replaceAll(named, file))
  }

  async function refusal(message: string): Promise<OnehopError> {
    const variables = await readVariables(disk, path)
    if (variables.every(({ isSet, hasDefault }) => isSet || hasDefault))
      return new OnehopError('caddy-edit-refused', { file, message })
    return new OnehopError('caddy-variables-unknown', {
      file,
      variables: namedVariables(path, variables),
      message: `with the values that they have here, Caddy refuses the file: ${message}`,
    })
  }

  /** The file as mesh.yaml names it and, last, behind symlinks. */
  const ownPaths = async () => [path, await disk.realpath(path).catch(() => path)]

  /** By which names of the file Caddy can have come to hide this; none if it is something else. */
  async function namesOf(hidden: string): Promise<FileName[]> {
    const paths = await ownPaths()
    if (isAbsolute(hidden)) {
      const target = await disk.realpath(hidden).catch(() => undefined)
      return target === paths.at(-1) ? [{ config: hidden }] : []
    }
    // Relative to the folder that Caddy was started in, which its config does not say.
    const [, ups = '', rest = ''] = /^(?:\.\/)?((?:\.\.\/)*)(.+)$/.exec(hidden) ?? []
    const within = rest.split('/').slice(0, -1)
    const depth = ups.split('/').length - 1
    if (!hidden.includes('/') || within.length < depth) return []
    return paths.flatMap((each) =>
      each.endsWith(`/${rest}`)
        ? [{ config: ups + rest, cwd: join(each.slice(0, -rest.length), ...within.slice(0, depth)) }]
        : [],
    )
  }

  /** With another name in place of the file's own, or without one. */
  async function renamed(config: unknown, own: string[], to?: string): Promise<unknown> {
    const names = [...own]
    for (const hidden of new Set(hiddenFiles(config)))
      if ((await namesOf(hidden)).length > 0) names.push(hidden)
    return renameHidden(config, names, to)
  }

  const withoutOwnName = (config: unknown) => renamed(config, [namelessFile])

  async function adaptAs(name: FileName, ran?: unknown): Promise<unknown> {
    const adapted = await adapt(name)
    if (ran === undefined || isDeepStrictEqual(adapted, ran)) return adapted
    return isDeepStrictEqual(await withoutOwnName(adapted), await withoutOwnName(ran)) ? ran : adapted
  }

  async function adaptText(text: string, name: FileName = { config: path }): Promise<unknown> {
    const folder = dirname(resolve(name.cwd ?? '/', name.config))
    if (await readsStdin())
      return renamed(await adapt({ config: '-', cwd: folder }, text), ['./-'], namelessFile)
    const draft = join(folder, `.${basename(path)}.onehop-adapt`)
    try {
      // Left by a run that was killed, or put there: it is not followed.
      await disk.rm(draft, { force: true }).catch(unusable)
      const handle = await disk.open(draft, 'wx', 0o600).catch(unusable)
      await handle
        .writeFile(text)
        .finally(() => handle.close())
        .catch(unusable)
      return await renamed(await adapt({ config: draft }), [draft], namelessFile)
    } finally {
      await disk.rm(draft, { force: true }).catch(unusable)
    }
  }

  function unusable(thrown: unknown): never {
    throw new OnehopError('caddy-file-unreadable', { file, message: messageOf(thrown) }, { cause: thrown })
  }

  async function readsStdin(): Promise<boolean> {
    const [major = 0, minor = 0, patch = 0] = (await version()).split(/\D/).map(Number)
    return major * 1e6 + minor * 1e3 + patch >= 2_010_001
  }

  return {
    version,
    readsStdin,
    withoutOwnName,
    adaptAs,
    adaptText,

    async adaptFile(ran) {
      const hidden = await Promise.all([...new Set(hiddenFiles(ran))].map(namesOf))
      const names = [...hidden.flat(), ...(await ownPaths()).map((config) => ({ config }))]
      let [found, refused]: [Adapted | undefined, unknown] = [undefined, undefined]
      const tried = new Set<string>()
      for (const name of names) {
        const key = JSON.stringify(name)
        if (tried.has(key)) continue
        tried.add(key)
        try {
          const adapted = await adaptAs(name, ran)
          if (ran === undefined || isDeepStrictEqual(adapted, ran)) return { adapted, name }
          found ??= { adapted, name }
        } catch (thrown) {
          refused ??= thrown
        }
      }
      if (!found) throw refused
      return found
    },
  }
}

type Options = { file: string; bin: string; disk: Disk }
export type Adapted = { adapted: unknown; name: FileName }
export type CaddyAdapter = {
  /** The version of the binary, like 2.11.9. @throws OnehopError caddy-too-old below 2.8, caddy-missing */
  version(): Promise<string>
  /** Whether `adaptText` leaves the folder alone; an older Caddy needs a draft there, and only one at a time. */
  readsStdin(): Promise<boolean>
  /**
   * Caddy's JSON for the file as it is now, under the name by which Caddy has read it for what it runs (`ran`), else as
   * mesh.yaml names it. It is `ran` itself where the two are equal but for the file's own name.
   *
   * @throws OnehopError caddy-edit-refused, caddy-variables-unknown, caddy-missing
   */
  adaptFile(ran?: unknown): Promise<Adapted>
  /** The same under one name. */
  adaptAs(name: FileName, ran?: unknown): Promise<unknown>
  /** Caddy's JSON for a text, as if it were in the folder of that name; its own name is `namelessFile` there. */
  adaptText(text: string, name?: FileName): Promise<unknown>
  /** A config without the file's own name in it, to be compared with that of a text. */
  withoutOwnName(config: unknown): Promise<unknown>
}

const runCaddy = (bin: string, args: string[], asked: Run = {}) =>
  runProgram(bin, args, asked).catch((thrown: unknown) => {
    throw missing(bin, `${bin} ${args.join(' ')}: ${messageOf(thrown)}`, thrown)
  })

const missing = (bin: string, message: string, cause?: unknown) =>
  new OnehopError('caddy-missing', { bin, message: message.split('\n')[0] ?? '' }, { cause })

async function readVersion(bin: string): Promise<string> {
  const ask = async (command: string) => {
    const ran = await runCaddy(bin, [command])
    if (ran.failed) throw missing(bin, ran.message)
    return ran
  }
  const short = (await ask('version')).stdout
  // A Caddy built by `go install` calls its version "unknown", but knows its module.
  const text = /^v?\d/.test(short)
    ? short
    : (/^mod\t\S+\t(\S+)/m.exec((await ask('build-info')).stdout)?.[1] ?? short)
  const [, found = text, major = 0, minor = 0] = /^v?((\d+)\.(\d+)[^\s]*)/.exec(text) ?? []
  if (Number(major) * 1000 + Number(minor) < 2008)
    throw new OnehopError('caddy-too-old', { found, expected: '2.8 or later' })
  return found
}
