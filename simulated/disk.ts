import { basename, dirname } from 'node:path'
import type { Disk, DiskHandle } from '../src/disk.ts'
import type { Call, Conditions } from './effect.ts'
import type { Process } from './process.ts'

/**
 * A disk that knows what was synced. Power cut, everything else is dropped or torn: the bytes of a file that was not
 * synced, and each name that was made, renamed or removed in a folder that was not.
 */
export function createMachineDisk(runtime: Conditions) {
  let now = new Map<string, Node>([['/', folder()]])
  let durable = new Map(now)
  const locks = new Map<string, Lock>()
  let version = 0
  let fullUntil = 0

  const at = (path: string) => {
    const node = now.get(path)
    if (!node) throw failed('ENOENT', path)
    return node
  }
  const textAt = (path: string) => {
    const node = at(path)
    if (node.kind !== 'file') throw failed('EISDIR', path)
    return node
  }
  const create = (path: string, mode: number) => {
    if (now.get(dirname(path))?.kind !== 'folder') throw failed('ENOENT', path)
    const node: FileNode = { kind: 'file', text: '', synced: undefined, mode }
    now.set(path, node)
    version++
    return node
  }

  return {
    /** Grows by each change. */
    version: () => version,
    /** What stands there, for the checks; not an effect. */
    peek: (path: string) => {
      const node = now.get(path)
      return node?.kind === 'file' ? node.text : undefined
    },
    list: (path: string) => [...now.keys()].filter((each) => dirname(each) === path && each !== '/'),
    /** An edit by somebody else's program, which has synced it. */
    put(path: string, text: string, mode = 0o644) {
      for (let parent = dirname(path); !now.has(parent); parent = dirname(parent)) {
        now.set(parent, folder())
        durable.set(parent, at(parent))
      }
      const node: FileNode = { kind: 'file', text, synced: text, mode }
      now.set(path, node)
      durable.set(path, node)
      version++
    },
    /** The machine loses its power: what was not synced is kept, dropped or torn, each by chance. */
    powerCut() {
      const { random } = runtime
      const kept = new Map(durable)
      for (const path of [...new Set([...now.keys(), ...durable.keys()])].sort()) {
        const [before, after] = [durable.get(path), now.get(path)]
        if (before === after || random() < 0.5) continue
        if (after) kept.set(path, after)
        else kept.delete(path)
      }
      // A name in a folder that was not kept is gone with it.
      for (const path of [...kept.keys()].sort())
        if (path !== '/' && kept.get(dirname(path))?.kind !== 'folder') kept.delete(path)
      for (const node of new Set(kept.values())) {
        if (node.kind !== 'file' || node.text === node.synced) continue
        const chance = random()
        if (chance < 0.4) node.text = node.synced ?? ''
        else if (chance < 0.8) node.text = node.text.slice(0, Math.floor(random() * node.text.length))
        node.synced = node.text
      }
      now = kept
      durable = new Map(kept)
      version++
    },
    /** The locks of a dead process stay until they are stale. */
    died(process: Process) {
      for (const lock of locks.values()) if (lock.by === process) lock.diedAt = Date.now()
    },
    /** Nothing more can be written for so long; what is there can be read, renamed and removed. */
    fill(milliseconds: number) {
      fullUntil = Date.now() + milliseconds
    },
    /** The machine slept: who held a lock finds out only at its next renewal whether somebody else has taken it. */
    slept() {
      for (const lock of locks.values()) {
        if (lock.diedAt !== undefined) continue
        lock.doubtful = true
        setTimeout(() => {
          lock.doubtful = false
          if (lock.lost && lock.by.alive)
            lock.onCompromised(new Error('the lock was taken by another process'))
        }, runtime.random() * 5000)
      }
    },
    /** The disk as one process sees it. */
    handle: (by: Process): Disk => {
      const call = (what: string, path: string, more: Partial<Call> = {}): Call => ({
        system: 'disk',
        what: `${what} ${basename(path)}`,
        lost: () => failed('EIO', path),
        ...more,
      })
      const quick = async <T>(work: () => T): Promise<T> => work()

      const open = (path: string, node: Node): DiskHandle => ({
        writeFile: (text) =>
          runtime.effect(
            by,
            call('write', path, { writes: true, partly: () => fill(node, text.slice(0, text.length / 2)) }),
            () => {
              needsRoom(path)
              fill(node, text)
            },
          ),
        sync: () =>
          runtime.effect(by, call('sync', path, { writes: true }), () => {
            if (node.kind === 'file') node.synced = node.text
            else
              for (const each of new Set([...now.keys(), ...durable.keys()])) {
                if (dirname(each) !== path || each === '/') continue
                const there = now.get(each)
                if (there) durable.set(each, there)
                else durable.delete(each)
              }
          }),
        stat: () => quick(() => ({ uid: 501, gid: 20 })),
        chown: () => quick(() => undefined),
        chmod: (mode) => quick(() => void Object.assign(node, { mode })),
        close: () => quick(() => undefined),
      })

      async function lock(path: string, onCompromised: Lock['onCompromised']): Promise<() => Promise<void>> {
        const mine: Lock = { by, onCompromised, doubtful: false, lost: false }
        // One that fails holds nothing.
        await runtime.effect(by, call('lock', path), () => {
          // A lock is a folder of its own.
          needsRoom(path)
          const held = locks.get(path)
          // Its holder renewed it up to 5 s before it died.
          const stale = held?.doubtful || (held?.diedAt ?? Number.POSITIVE_INFINITY) + 10_000 <= Date.now()
          if (held && !stale) throw failed('ELOCKED', path)
          if (held) held.lost = true
          locks.set(path, mine)
        })
        return () =>
          runtime.effect(by, { system: 'disk', what: `unlock ${basename(path)}`, writes: true }, () => {
            if (locks.get(path) === mine) locks.delete(path)
          })
      }

      return {
        readFile: (path) => runtime.effect(by, call('read', path), () => Buffer.from(textAt(path).text)),
        readdir: (path) =>
          runtime.effect(by, call('list', path), () => {
            at(path)
            return [...now.keys()]
              .filter((each) => dirname(each) === path && each !== '/')
              .map((each) => basename(each))
          }),
        stat: (path) => quick(() => ({ mode: 0o100000 | at(path).mode, uid: 501, gid: 20 })),
        realpath: (path) =>
          quick(() => {
            at(path)
            return path
          }),
        mkdir: (path) => {
          if (now.get(path)?.kind === 'folder') return quick(() => undefined)
          return runtime.effect(by, call('mkdir', path, { writes: true }), () => {
            needsRoom(path)
            let first: string | undefined
            for (let each = path; !now.has(each); each = dirname(each)) {
              now.set(each, folder())
              first = each
            }
            version++
            return first
          })
        },
        writeFile: (path, text, { mode }) =>
          runtime.effect(by, call('write', path, { writes: true }), () => {
            const node = now.get(path) ?? create(path, mode)
            needsRoom(path)
            fill(node, text)
          }),
        open: (path, flags, mode = 0o600) => {
          if (flags === 'r') return quick(() => open(path, at(path)))
          return runtime.effect(by, call('create', path, { writes: true }), () => {
            if (now.has(path)) throw failed('EEXIST', path)
            return open(path, create(path, mode))
          })
        },
        rename: (from, to) =>
          runtime.effect(by, call('rename', to, { writes: true }), () => {
            const node = at(from)
            now.delete(from)
            now.set(to, node)
            version++
          }),
        rm: (path) =>
          runtime.effect(by, call('remove', path, { writes: true }), () => {
            if (now.delete(path)) version++
          }),
        async lock(path, { retries, onCompromised = () => undefined }) {
          if (!retries || typeof retries === 'number') return lock(path, onCompromised)
          const { retries: most = 0, minTimeout = 1000, maxTimeout = minTimeout } = retries as Retries
          for (let tries = 0; ; tries++) {
            try {
              return await lock(path, onCompromised)
            } catch (thrown) {
              if (tries >= most || (thrown as NodeJS.ErrnoException).code !== 'ELOCKED') throw thrown
              await runtime.pause(Math.min(maxTimeout, minTimeout * 2 ** tries))
            }
          }
        },
      }
    },
  }

  function needsRoom(path: string) {
    if (Date.now() < fullUntil) throw failed('ENOSPC', path)
  }

  function fill(node: Node, text: string) {
    if (node.kind === 'file') node.text = text
    version++
  }
}

export type MachineDisk = ReturnType<typeof createMachineDisk>
type Lock = {
  by: Process
  onCompromised: (error: Error) => unknown
  diedAt?: number
  /** Not renewed while the machine slept, and not renewed since. */
  doubtful: boolean
  lost: boolean
}
type FileNode = { kind: 'file'; text: string; synced: string | undefined; mode: number }
type Node = FileNode | { kind: 'folder'; mode: number }

type Retries = { retries?: number; minTimeout?: number; maxTimeout?: number }

const folder = (): Node => ({ kind: 'folder', mode: 0o755 })
const failed = (code: string, path: string) => Object.assign(new Error(`${code}: ${path}`), { code })
