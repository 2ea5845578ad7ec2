import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { engine, waitFor, world } from '../real/panda.ts'
import type { Victim } from './cases.ts'

/** How each is killed by SIGKILL and brought back; `back` returns when it does its work again. */
export const victims: Record<
  Victim,
  { pid: () => number | undefined; back: (killed: number) => Promise<void> }
> = {
  worker: { pid: () => world.server('worker').pid(), back: () => world.server('worker').start() },
  caddy: {
    pid: () => world.server('caddy').pid(),
    async back() {
      await world.server('caddy').start()
      await answers('Caddy', 'http://localhost:2019/config/')
    },
  },
  apiserver: {
    pid: () => world.server('kube-apiserver').pid(),
    async back() {
      await world.server('kube-apiserver').start()
      await waitFor('the API server', async () => (await world.kubectl(['get', '--raw', '/readyz'])) === 'ok')
    },
  },
  tailnet: {
    pid: () => world.server('tailscale-api').pid(),
    async back() {
      await world.server('tailscale-api').start()
      await nodesOnline(['panda', 'clanker-001', 'tailscale-operator'])
    },
  },
  // Both are pods: kubelet starts them again.
  engine: {
    pid: () => processOf(/^inngest\0start\0/),
    async back(killed) {
      await waitFor('another engine', () => ![killed, undefined].includes(victims.engine.pid()))
      await answers('the engine', 'http://localhost:8288/health')
      await waitFor('the engine to have its apps', async () => {
        const { apps } = await engine<{ apps: Array<{ name: string }> }>('{ apps { name } }')
        return apps.some(({ name }) => name === 'onehop')
      })
    },
  },
  operator: {
    pid: () => processOf(/^\/usr\/local\/bin\/operator\0/),
    async back(killed) {
      await waitFor('another operator', () => ![killed, undefined].includes(victims.operator.pid()))
      await nodesOnline(['tailscale-operator'])
    },
  },
}

/** Kills it from outside, and says whose process it was and that it is gone. */
export async function kill(victim: Victim): Promise<{ pid: number; gone: boolean }> {
  const pid = victims[victim].pid()
  if (pid === undefined) throw new Error(`${victim} does not run`)
  process.kill(pid, 'SIGKILL')
  await waitFor(`${victim} (pid ${pid}) to be gone`, () => isGone(pid), 20)
  return { pid, gone: isGone(pid) }
}

/** A zombie is gone as well: nobody has asked for its exit code yet. */
function isGone(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return (
      stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z') && readdirSync(`/proc/${pid}/task`).length === 1
    )
  } catch {
    return !existsSync(`/proc/${pid}/task`)
  }
}

/** The process in this world whose command line is like that, if it lives. */
function processOf(commandLine: RegExp): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => {
      try {
        return commandLine.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')) && !isGone(pid)
      } catch {
        return false // it has just ended
      }
    })
}

const answers = (what: string, url: string) =>
  waitFor(what, async () => (await world.panda.run('curl', ['-sf', url], { reject: false })).exitCode === 0)

const nodesOnline = (names: string[]) =>
  waitFor(`${names.join(', ')} to be online`, async () => {
    const nodes = (await world.headscale(['nodes', 'list'])) as Array<{ name: string; online?: boolean }>
    return names.every((name) => nodes.some((each) => each.name.startsWith(name) && each.online === true))
  })
