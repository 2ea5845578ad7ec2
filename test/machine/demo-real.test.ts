import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { changedSince, machine, watched } from './machine.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('npm run demo:real stays up in a pipe without stdin or terminal; what it suggests works; it ends when asked to', {
  timeout: 600_000,
}, async () => {
  const before = machine()
  const demo = watched(
    spawn('sh', ['-c', 'exec node bootstrap.mjs sandbox/demo.ts --yes --json <&-'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own, for the signal below.
      detached: true,
    }),
  )
  await demo.says('The world stays up.', 400_000)
  expect(JSON.parse(demo.output.stdout)).toMatchObject({ ok: true, command: 'demo:real', error: null })

  // What a closed terminal sends to all that it started. There is none, so it asks for nothing, as under nohup.
  process.kill(-demo.pid, 'SIGHUP')

  const suggested = [...demo.output.stderr.matchAll(/^ {2}(\/\S+\/on-panda .*)$/gm)].map(
    ([, line = '']) => line,
  )
  expect(suggested.map((line) => line.split(' ').slice(1, 3).join(' '))).toEqual([
    ...['onehop status', 'onehop rollback', 'onehop plan', 'onehop expose', 'curl -sf'],
  ])
  const run = (line: string) => execa('sh', ['-c', line], { cwd: '/', reject: false })
  for (const line of suggested) {
    const { exitCode, stdout, stderr } = await run(line)
    expect(exitCode, `${line}\n${stdout}\n${stderr}`).toBe(0)
    expect(stdout).not.toContain('"errors":')
    if (!line.endsWith(' plan')) continue
    const { result } = JSON.parse((await run(`${line} --json`)).stdout)
    expect(result).toMatchObject({ blocked: 0 })
  }

  const [, pid = ''] = /`kill (\d+)`/.exec(demo.output.stderr) ?? []
  process.kill(Number(pid), 'SIGTERM')
  expect(await demo.ended, demo.output.stderr).toBe(0)
  expect(changedSince(before)).toEqual([])
})
