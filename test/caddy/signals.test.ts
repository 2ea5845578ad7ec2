import { writeFile } from 'node:fs/promises'
import pWaitFor from 'p-wait-for'
import { expect, test } from 'vitest'
import { startCaddy } from './start-caddy.ts'

const old = 'localhost:8288'
const device = 'inngest.tail7af24.ts.net:8288'

test('after our load Caddy still reloads its file on SIGUSR1, as after caddy reload', async () => {
  await using started = await startCaddy(([a]) => `http://a.test:${a} {\n\treverse_proxy ${old}\n}\n`)
  const { caddy, file, ports, signal, log } = started
  await caddy.switchRoutes([{ site: `http://a.test:${ports[0]}`, from: old, to: device }])
  const edited = `${await started.text()}http://b.test:${ports[1]} {\n\trespond "by hand"\n}\n`
  await writeFile(file, edited)
  signal('SIGUSR1')
  await pWaitFor(() => /reloaded config from file|ignored SIGUSR1/.test(log()), { timeout: 20_000 })
  expect(log()).toContain('successfully reloaded config from file')
  expect(await caddy.running()).toEqual(await started.wouldReload())
  expect(JSON.stringify(await caddy.running())).toContain('by hand')
})
