import { existsSync, mkdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { execa } from 'execa'
import { messageOf } from '../src/errors.ts'
import { buildParts, missingParts } from './build.ts'
import { cacheFolder, worlds } from './cache.ts'
import { packImages } from './images.ts'
import { holdLock } from './lock.ts'
import { isCI, refusal, whyUnfit } from './requirements.ts'

export { missingParts }

/**
 * Makes sure that everything the sandbox needs is in the cache. Says first what it is going to do and what that costs,
 * and asks a person once; progress goes to stderr. Without a terminal, or with CI set, nothing is asked.
 *
 * @throws Error that says in lines for a person what is missing, or that the person said no
 */
export async function prepareSandbox({ ask = true }: { ask?: boolean } = {}) {
  const unfit = whyUnfit()
  if (unfit) throw refusal(unfit)
  const lacking = await lackingPrograms()
  if (lacking.length > 0) throw refusal(`this machine lacks ${lacking.join('; ')}`)
  const missing = missingParts()
  if (missing.length > 0) await build(missing, ask)
  // Before any world: two of them must not pack the same archive at once.
  packImages()
}

/** The same for a script that is nothing without the sandbox: where it cannot run, it says why and ends with exit code 2. */
export async function prepareOrExit(options?: { ask?: boolean }) {
  try {
    await prepareSandbox(options)
  } catch (thrown) {
    say(messageOf(thrown))
    process.exit(2)
  }
}

/** The programs that this machine lacks for the sandbox; for a build too, where one is needed. */
export async function lackingPrograms(): Promise<string[]> {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  const lacking = (programs: string[]) =>
    programs.filter((program) => !folders.some((folder) => existsSync(join(folder, program))))
  const machine = lacking(['ip', 'nsenter', 'unshare', 'setpriv', 'openssl'])
  if (missingParts().length === 0) return machine
  return [...machine, ...lacking(['apt-get', 'dpkg-deb']), ...(await missingGo())]
}

/** Removes the cache, but never under a living sandbox. */
export const cleanCache = () => whileNoneRuns(() => rmSync(cacheFolder, { recursive: true, force: true }))

/** @throws Error with the process id if a sandbox lives in one of the worlds of this machine */
export async function whileNoneRuns(work: () => void) {
  await using locks = new AsyncDisposableStack()
  for (const world of worlds) locks.use(await holdLock(`sandbox${world}`))
  work()
}

const say = (line: string) => process.stderr.write(`${line}\n`)

async function build(missing: string[], ask: boolean) {
  mkdirSync(cacheFolder, { recursive: true })
  const gigabytes = missing.length > 2 ? 18 : 6
  const free = statfsSync(cacheFolder)
  if ((free.bavail * free.bsize) / 1e9 < gigabytes)
    throw refusal(`${cacheFolder} has less than ${gigabytes} GB of free disk`)
  say(`Missing in ${cacheFolder}: ${missing.join('; ')}.`)
  say(
    `They are built from Go modules and fetched from Debian once: up to ${missing.length * 3} minutes on 2 cores, ${gigabytes} GB of disk, 3 GB of download. Nothing is installed.`,
  )
  say('Without any of that: npm run demo   (simulated systems, Node alone, a minute)')
  const person = process.stdin.isTTY && process.stderr.isTTY && !isCI()
  if (ask && person && !(await confirmed())) throw new Error('Nothing was built.')
  const start = performance.now()
  await buildParts({
    onPart: ({ name, k, n, seconds }) => {
      say(
        `[${k}/${n}] ${name}: ${Math.round(seconds)} s (${Math.round((performance.now() - start) / 1000)} s so far)`,
      )
    },
  })
}

/** Ctrl-D and Ctrl-C at the question mean no. */
async function confirmed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('n')))
  const answer = await Promise.race([terminal.question('Go on? [Y/n] '), closed])
  terminal.close()
  return !/^n/i.test(answer)
}

async function missingGo(): Promise<string[]> {
  const wanted = 'Go 1.26 or newer (https://go.dev/dl)'
  const { stdout, failed } = await execa('go', ['env', 'GOVERSION'], {
    reject: false,
    env: { GOTOOLCHAIN: 'local' },
  })
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(String(stdout ?? '')) ?? []
  if (failed || !minor) return [wanted]
  return Number(major) > 1 || Number(minor) >= 26 ? [] : [`${wanted}; this is ${stdout}`]
}
