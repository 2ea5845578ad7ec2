import { symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pWaitFor from 'p-wait-for'
import { expect, test } from 'vitest'
import { startCaddy } from './start-caddy.ts'

const old = 'localhost:8288'
const device = 'inngest.tail7af24.ts.net:8288'
const files = ([a, b]: number[]) =>
  `http://a.test:${a} {\n\treverse_proxy ${old}\n}\nhttp://b.test:${b} {\n\tfile_server\n}\n`

test.each([
  ['by its path', (folder: string) => ({ file: join(folder, 'caddy.conf') })],
  [
    'by a relative name',
    (folder: string) => ({ file: join(folder, 'caddy.conf'), config: 'caddy.conf', cwd: folder }),
  ],
  ['by a symlink', (folder: string) => ({ file: join(folder, 'caddy.conf'), config: join(folder, 'link') })],
])('a Caddy that was given its file %s still reloads it on SIGUSR1 after our load', async (_, named) => {
  await using started = await startCaddy(files, async (folder, text) => {
    const prepared = named(folder)
    await writeFile(prepared.file, text)
    await symlink('caddy.conf', join(folder, 'link'))
    return prepared
  })
  const { caddy, file, ports, signal, log } = started
  await caddy.switchRoutes([{ site: `http://a.test:${ports[0]}`, from: old, to: device }])
  await writeFile(file, `${await started.text()}http://c.test:${ports[2]} {\n\trespond "by hand"\n}\n`)
  signal('SIGUSR1')
  await pWaitFor(() => /reloaded config from file|ignored SIGUSR1/.test(log()), { timeout: 20_000 })
  expect(log()).toContain('successfully reloaded config from file')
  expect(await caddy.running()).toEqual(await started.wouldReload())
  expect(JSON.stringify(await caddy.running())).toContain('by hand')
})
