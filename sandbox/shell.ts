// usage: node sandbox/shell.ts [COMMAND ...]   boots the world and runs COMMAND inside, or waits until Ctrl-C
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { isInside, runInside } from './enter.ts'
import { writeEntrance } from './entrance.ts'
import { startSandbox } from './start.ts'
import { untilStopped } from './stop.ts'

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
  console.error(`The world is in ${world.folder}; Ctrl-C ends it. Into it, from another shell as root:`)
  for (const host of [world.panda, world.clanker]) console.error(`  ${writeEntrance(world, host)} sh`)
  await untilStopped()
}
