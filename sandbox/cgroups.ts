import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pWaitFor from 'p-wait-for'
import { world } from './cache.ts'

/** The cgroup under which kubelet keeps all pods: kubelet kills what it does not know in there. */
export const cgroupRoot = `onehop${world}`

/** Makes the cgroup in the one v2 hierarchy, or in every v1 hierarchy. */
export function createCgroups() {
  for (const root of hierarchies()) {
    mkdirSync(join(root, cgroupRoot), { recursive: true })
    if (hierarchies().length === 1) enableControllers(root)
    // A v1 cpuset is born empty, and a process cannot enter an empty one.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(join(root, file)))
        writeFileSync(join(root, cgroupRoot, file), readFileSync(join(root, file)))
    }
  }
}

/** Kills what still runs in the cgroup, waits until it is gone, and removes the whole tree. */
export async function removeCgroups() {
  const folders = hierarchies().flatMap((root) => tree(join(root, cgroupRoot)))
  await pWaitFor(
    () => {
      const pids = new Set(folders.flatMap(processesOf))
      for (const pid of pids) kill(pid)
      return pids.size === 0
    },
    {
      interval: 50,
      timeout: { milliseconds: 20_000, message: 'processes in the sandbox cgroup do not end' },
    },
  )
  await pWaitFor(() => hierarchies().every((root) => removeTree(join(root, cgroupRoot))), {
    interval: 50,
    timeout: { milliseconds: 20_000, message: 'the sandbox cgroup cannot be removed' },
  })
}

function hierarchies(): string[] {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n')
  const found = mounts
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
  return [...new Set(found.map(([, folder]) => folder ?? ''))].filter((folder) => existsSync(folder))
}

/** Only where v2 is all there is: on a hybrid machine the controllers are v1's. They stay enabled, as systemd has them. */
function enableControllers(root: string) {
  const controllers = readFileSync(join(root, 'cgroup.controllers'), 'utf8').trim().split(' ').filter(Boolean)
  for (const folder of [root, join(root, cgroupRoot)]) {
    for (const controller of controllers) {
      try {
        writeFileSync(join(folder, 'cgroup.subtree_control'), `+${controller}`)
      } catch {
        // A controller that this machine does not delegate: kubelet says so if it needs it.
      }
    }
  }
}

/** Deepest folders first, as rmdir wants them. */
function tree(folder: string): string[] {
  if (!existsSync(folder)) return []
  const children = readdirSync(folder).filter((name) => statSync(join(folder, name)).isDirectory())
  return [...children.flatMap((name) => tree(join(folder, name))), folder]
}

function processesOf(folder: string): number[] {
  const file = join(folder, 'cgroup.procs')
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number) : []
}

function kill(pid: number) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}

function removeTree(folder: string): boolean {
  try {
    for (const each of tree(folder)) rmdirSync(each)
    return true
  } catch {
    return false
  }
}
