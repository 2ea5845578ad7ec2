import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { diffArrays } from 'diff'
import pWaitFor from 'p-wait-for'
import { expect, test } from 'vitest'
import { findProgram, libraryFolders, runFolder } from '../../sandbox/cache.ts'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const limit = 170_000

test('a story that ends well leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('succeed')
  expect(await story.ended, story.output()).toBe(0)
  expect(changedSince(before)).toEqual([])
})

test('a story that fails leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('fail')
  expect(await story.ended).toBe(1)
  expect(story.output()).toContain('this story fails on purpose')
  expect(changedSince(before)).toEqual([])
})

test('Ctrl-C in the middle leaves nothing on the machine', { timeout: limit }, async () => {
  const before = machine()
  const story = start('wait')
  await story.says('the pod runs')
  expect(changedSince(before)).not.toEqual([]) // else this file would prove nothing
  process.kill(story.pid, 'SIGINT')
  expect(await story.ended).toBe(130)
  expect(changedSince(before)).toEqual([])
})

test('what a kill -9 leaves is gone after the next story', { timeout: limit }, async () => {
  const before = machine()
  const killed = start('wait')
  await killed.says('the pod runs')
  process.kill(killed.pid, 'SIGKILL')
  await killed.ended
  // Its processes, mounts and namespaces are the kernel's to take down, at once; files and cgroups are the next start's.
  await pWaitFor(() => machine().processes.length === before.processes.length, {
    interval: 50,
    timeout: 20_000,
  })
  const next = start('succeed')
  expect(await next.ended, next.output()).toBe(0)
  expect(changedSince(before)).toEqual([])
})

test('a second sandbox is refused with the process id of the first', { timeout: limit }, async () => {
  const first = start('wait')
  await first.says('the pod runs')
  const second = start('succeed')
  expect(await second.ended).toBe(2)
  expect(second.output()).toContain(`process ${first.pid}`)
  process.kill(first.pid, 'SIGTERM')
  expect(await first.ended).toBe(143)
})

function start(ending: 'succeed' | 'fail' | 'wait') {
  const args = [
    '--disable-warning=ExperimentalWarning',
    file('../../sandbox/enter.ts'),
    file('./one-pod.ts'),
    ending,
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data
    })
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  return {
    pid: child.pid ?? 0,
    ended,
    output: () => output,
    says: (text: string) =>
      pWaitFor(
        () => {
          if (child.exitCode !== null) throw new Error(`the story ended early:\n${output}`)
          return output.includes(text)
        },
        { interval: 50, timeout: 120_000 },
      ),
  }
}

/** What a sandbox could leave. Of processes only those that are a sandbox's: other programs of the machine come and go. */
function machine() {
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
function changedSince(before: ReturnType<typeof machine>): string[] {
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

/** Everything in there lives in another process namespace; the programs that lead into it name the sandbox. */
function sandboxProcesses(): string[] {
  const ours = readlinkSync('/proc/self/ns/pid')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const inside = readlinkSync(`/proc/${pid}/ns/pid`) !== ours
        return inside || command.includes('sandbox/enter.ts') || command.includes('--pdeathsig')
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
