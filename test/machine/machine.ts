import { type ChildProcessByStdio, execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { diffArrays } from 'diff'
import pWaitFor from 'p-wait-for'
import { onTestFinished } from 'vitest'
import { findProgram, libraryFolders, runFolder } from '../../sandbox/cache.ts'

/** A story of the sandbox that runs as a process of its own: its output so far, its end, and a wait for its words. */
export function watched(child: ChildProcessByStdio<null, Readable, Readable>) {
  const output = { stdout: '', stderr: '', all: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      output.all += text
    })
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  // One whose test fails must not hold the machine's only world for all that follow.
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return {
    pid: child.pid ?? 0,
    ended,
    output,
    says: (text: string, milliseconds = 120_000) =>
      pWaitFor(
        () => {
          if (child.exitCode !== null) throw new Error(`the story ended early:\n${output.all}`)
          return output.all.includes(text)
        },
        { interval: 50, timeout: milliseconds },
      ),
  }
}

/** What a sandbox could leave. Of processes only those that are a sandbox's: other programs of the machine come and go. */
export function machine() {
  return {
    processes: sandboxProcesses(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').sort(),
    networkNamespaces: execFileSync('ip', ['netns'], { encoding: 'utf8' }),
    links: readdirSync('/sys/class/net').sort(),
    forwarding: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'),
    packetRules: execFileSync(findProgram('nft'), ['list', 'ruleset'], {
      encoding: 'utf8',
      env: { ...process.env, LD_LIBRARY_PATH: libraryFolders().join(':') },
    }),
    cgroups: cgroups(),
    folders: Object.fromEntries(
      ['/etc', '/run', '/var/log', '/var/lib', '/var/log/pods', '/var/lib/cni'].map((path) => [
        path,
        names(path),
      ]),
    ),
    resolver: readFileSync('/etc/resolv.conf', 'utf8'),
    runFolder: existsSync(runFolder),
  }
}

/** One line for each thing that came or went, with the part of the machine that it is in. */
export function changedSince(before: ReturnType<typeof machine>): string[] {
  const list = (of: ReturnType<typeof machine>) =>
    Object.entries(of).flatMap(([part, value]) =>
      JSON.stringify(value, null, 1)
        .split('\n')
        .map((line) => `${part}: ${line.trim()}`),
    )
  return diffArrays(list(before), list(machine())).flatMap(({ added, removed, value }) =>
    added || removed ? value.map((line) => `${added ? 'came' : 'went'}: ${line}`) : [],
  )
}

const sandboxFolder = fileURLToPath(new URL('../../sandbox/', import.meta.url))

/** Everything in there lives in another process namespace; the programs that lead into it name this checkout or its run folder. */
function sandboxProcesses(): string[] {
  const ours = readlinkSync('/proc/self/ns/pid')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const inside = readlinkSync(`/proc/${pid}/ns/pid`) !== ours
        return inside || command.includes(sandboxFolder) || command.includes(` ${runFolder} `)
          ? [command]
          : []
      } catch {
        return [] // it ended while we looked
      }
    })
    .sort()
}

/** Only those that kubelet or containerd could have made: the machine's own come and go as well. */
const cgroups = () =>
  execFileSync('find', ['/sys/fs/cgroup', '-type', 'd'], { encoding: 'utf8' })
    .split('\n')
    .filter((path) => /onehop|kubepods|k8s\.io|containerd/.test(path))
    .sort()

const names = (path: string) => (existsSync(path) ? readdirSync(path).sort() : [])
