// usage: node sandbox/shell.ts [COMMAND ...]   boots the world and runs COMMAND inside, or waits until Ctrl-C
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { isInside, runInside } from './enter.ts'
import { startSandbox } from './start.ts'

if (isInside()) await inside(process.argv.slice(2))
else
  process.exitCode = await runInside(
    fileURLToPath(import.meta.url),
    process.argv.slice(2).filter((arg) => arg !== '--'),
  )

async function inside([command, ...args]: string[]) {
  await using world = await startSandbox({
    onPart: ({ name, k, n, seconds }) => console.error(`[${k}/${n}] ${name} (${seconds.toFixed(1)} s)`),
  })
  if (command) {
    const env = { KUBECONFIG: world.kubeconfig }
    process.exitCode = (await execa(command, args, { stdio: 'inherit', reject: false, env })).exitCode ?? 1
    return
  }
  console.error(
    `The world is in ${world.folder}; Ctrl-C ends it. Into it from another shell, and on to panda:`,
  )
  console.error(`  nsenter -t $(pgrep -P $(cat ${world.folder}/outer.pid)) -m -n -p`)
  console.error(`  ip netns exec panda env HOME=${world.panda.home} sh`)
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {}, 1 << 30) // keeps us alive
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        clearInterval(timer)
        resolve()
      })
    }
  })
}
