import { existsSync, mkdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { execa } from 'execa'
import { buildParts, missingParts } from './build.ts'
import { cacheFolder, worlds } from './cache.ts'
import { packImages } from './images.ts'
import { holdLock } from './lock.ts'

/**
 * Makes sure that everything the sandbox needs is in the cache, or ends the process with exit code 2 and says what
 * is missing. Says first what it is going to do, and asks a person once; progress goes to stderr.
 */
export async function prepareSandbox({ ask = true }: { ask?: boolean } = {}) {
  const problems = await missingRequirements()
  if (problems.length > 0) refuse(problems)
  const missing = missingParts()
  if (missing.length > 0) await build(missing, ask)
  // Before any world: two of them must not pack the same archive at once.
  packImages()
}

async function build(missing: string[], ask: boolean) {
  mkdirSync(cacheFolder, { recursive: true })
  const gigabytes = missing.length > 2 ? 18 : 6
  const free = statfsSync(cacheFolder)
  if ((free.bavail * free.bsize) / 1e9 < gigabytes) refuse([`${gigabytes} GB of free disk in ${cacheFolder}`])
  say(
    `The sandbox runs the real servers, in namespaces of this machine; nothing is installed. It needs root.`,
  )
  say(`Missing in ${cacheFolder}: ${missing.join('; ')}.`)
  say(
    `They are built from Go modules and fetched from Debian once: up to ${missing.length * 3} minutes on 2 cores, ${gigabytes} GB of disk, 3 GB of download.`,
  )
  say(`Without any of that: npm run tour   (the plan for the same system, from captured files)`)
  if (ask && process.stdin.isTTY && process.env.CI === undefined && !(await confirmed())) process.exit(2)
  const start = performance.now()
  await buildParts({
    onPart: ({ name, k, n, seconds }) => {
      say(
        `[${k}/${n}] ${name}: ${Math.round(seconds)} s (${Math.round((performance.now() - start) / 1000)} s so far)`,
      )
    },
  })
}

/** Removes the cache, but never under a living sandbox. */
export async function cleanCache() {
  await using locks = new AsyncDisposableStack()
  for (const world of worlds) locks.use(await holdLock(`sandbox${world}`))
  rmSync(cacheFolder, { recursive: true, force: true })
}

const say = (line: string) => process.stderr.write(`${line}\n`)

async function confirmed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question('Go on? [Y/n] ')
  terminal.close()
  return !/^n/i.test(answer)
}

async function missingRequirements(): Promise<string[]> {
  if (process.platform !== 'linux')
    return [`Linux (this is ${process.platform}: use a Linux virtual machine)`]
  const root = process.getuid?.() === 0 ? [] : ['root, for namespaces and mounts (try: sudo -E npm run demo)']
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  const has = (program: string) => folders.some((folder) => existsSync(join(folder, program)))
  const machine = ['ip', 'nsenter', 'unshare', 'setpriv', 'openssl'].filter((program) => !has(program))
  // Only a build needs these.
  const builders = missingParts().length > 0 ? ['apt-get', 'dpkg-deb'].filter((program) => !has(program)) : []
  return [...root, ...machine, ...builders, ...(missingParts().length > 0 ? await missingGo() : [])]
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

function refuse(problems: string[]): never {
  say('The sandbox cannot run here.')
  say(`Missing: ${problems.join('; ')}.`)
  say(
    'It boots the real Kubernetes, Tailscale operator, Headscale, Inngest and Caddy, so it needs a Debian-like Linux and root.',
  )
  say('On Debian or Ubuntu: apt-get install iproute2 util-linux openssl, and Go 1.26 from https://go.dev/dl')
  say('Without it: npm run tour   (the plan for the same system, from captured files), and npm run test:unit')
  process.exit(2)
}
