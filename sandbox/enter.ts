import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { cacheFolder, runFolder, type World, world } from './cache.ts'
import { createCgroups, removeCgroups } from './cgroups.ts'
import { holdLock } from './lock.ts'
import { hasTerminal, stopSignals } from './stop.ts'

/**
 * Runs `node FILE ARGS` inside the sandbox's own mount, network and process namespaces, and returns its exit code.
 *
 * The kernel ends everything in there when the first process of the namespaces ends, and that one ends with us,
 * however we end. The new network namespace has no link to the machine at all: it is the router between the
 * sandbox's hosts, and nothing in it can reach the internet.
 * Throws if another sandbox lives on this machine, or if this is not root on Linux.
 */
export async function runInside(file: string, args: string[] = []): Promise<number> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    throw new Error('the sandbox needs Linux and root')
  await using _lock = await holdLock(`sandbox${world}`)
  await removeCgroups() // what a kill -9 left behind
  rmSync(runFolder, { recursive: true, force: true })
  mkdirSync(runFolder, { recursive: true })
  createCgroups()
  try {
    return await runInNamespaces([process.execPath, '--disable-warning=ExperimentalWarning', file, ...args])
  } finally {
    await removeCgroups()
    rmSync(runFolder, { recursive: true, force: true })
  }
}

/** The same in the world of that ending, by a process of its own: the tests have two worlds side by side. */
export async function runInWorld(ending: World, file: string, args: string[] = []): Promise<number> {
  const self = fileURLToPath(import.meta.url)
  const { exitCode } = await execa(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', self, file, ...args],
    { stdio: 'inherit', reject: false, env: { ONEHOP_WORLD: ending } },
  )
  return exitCode ?? 1
}

/** The process id, outside, of the one that runs the sandbox; undefined in a process that is not in one. */
export const outerPid = () => process.env.ONEHOP_INSIDE
/** True in a process that `runInside` started, and in its children. */
export const isInside = () => outerPid() !== undefined

async function runInNamespaces(command: string[]): Promise<number> {
  const wrap =
    'setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private'
  const [program = '', ...rest] = wrap.split(' ')
  // Its own session: a Ctrl-C at the terminal reaches us alone, and we pass it on once.
  const child = spawn(program, [...rest, 'sh', '-c', init, 'init', cacheFolder, runFolder, ...command], {
    stdio: 'inherit',
    detached: true,
    env: { ...process.env, ONEHOP_INSIDE: String(process.pid) },
  })
  // For `nsenter` from another shell: process 1 of the sandbox is this one's only child.
  writeFileSync(join(runFolder, 'outer.pid'), `${child.pid}\n`)
  let interrupted: NodeJS.Signals | undefined
  let impatient: NodeJS.Timeout | undefined
  const passOn = (signal: NodeJS.Signals) => {
    if (signal === 'SIGHUP' && !hasTerminal) return
    interrupted = signal
    signalGroup(child.pid, signal)
    impatient ??= setTimeout(() => signalGroup(child.pid, 'SIGKILL'), 10_000)
  }
  for (const signal of stopSignals) process.on(signal, passOn)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', resolve)
    })
    // A story that took the signal as its end, and ended, knows best how it went.
    return interrupted && (code === null || code > 128) ? 128 + constants.signals[interrupted] : (code ?? 1)
  } finally {
    clearTimeout(impatient)
    for (const signal of stopSignals) process.off(signal, passOn)
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals) {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // It has just ended: what we wanted.
  }
}

/**
 * Process 1 of the sandbox. It stays a shell, because a shell's `wait` reaps orphans (containerd's shims fork twice)
 * and Node's does not. /etc and /var/lib become private copies: `ip netns exec` needs folders in /etc/netns,
 * tailscaled rewrites resolv.conf, and CNI writes to /var/lib/cni. Until /run is one too, mount is told to write no utab (-n):
 * it would make the machine's /run/mount.
 */
const init = `
set -e
cache=$1; keep=$2/private; shift 2
mkdir -p "$keep"; mount -n -t tmpfs tmpfs "$keep"; mkdir "$keep/cache"; mount -n --bind "$cache" "$keep/cache"
for dir in /etc /var/lib; do
  mkdir -p "$keep$dir/upper" "$keep$dir/work"
  mount -n -t overlay overlay -o "lowerdir=$dir,upperdir=$keep$dir/upper,workdir=$keep$dir/work" "$dir"
done
mount -n -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
case "$cache" in /var/lib/*|/run/*|/var/log/*) mkdir -p "$cache"; mount --bind "$keep/cache" "$cache";; esac
umount "$keep/cache"; umount -l "$keep"; rmdir "$keep"
mkdir -p /run/netns /etc/netns; rm -f /etc/resolv.conf; echo '# the sandbox has no resolver' > /etc/resolv.conf
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
exec 3<&0
"$@" <&3 3<&- &
set +e
wait $!
`

// The file is also the outer half of every command: `node enter.ts FILE ARGS`.
if (import.meta.main && process.argv[2]) {
  runInside(process.argv[2], process.argv.slice(3)).then(
    (code) => process.exit(code),
    (error: Error) => {
      console.error(`${basename(process.argv[1] ?? 'sandbox')}: ${error.message}`)
      process.exit(2)
    },
  )
}
