import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { localRoutes } from '../../src/plan/scan-routes.ts'
import { startCaddy } from './start-caddy.ts'

test('what comes by import or snippet is seen by scan, and told apart from what stands in a site block', async () => {
  await using started = await startCaddy(
    ([own, , snippet] = []) =>
      `(engine) {\n\treverse_proxy localhost:8289\n}\nimport sites/*.caddy\nhttp://a.test:${own} {\n\treverse_proxy localhost:6333\n}\nhttp://c.test:${snippet} {\n\timport engine\n}\n`,
    async (folder, text) => {
      // The second port is the imported file's.
      const port = Number(/a\.test:(\d+)/.exec(text)?.[1]) + 1
      await mkdir(join(folder, 'sites'))
      await writeFile(
        join(folder, 'sites/b.caddy'),
        `http://b.test:${port} {\n\treverse_proxy localhost:8288\n}\n`,
      )
      const file = join(folder, 'Caddyfile')
      await writeFile(file, text)
      return file
    },
  )
  const { caddy, folder, file, admin } = started
  const before = await readdir(folder)
  const adapted = await caddy.adaptFile()
  expect(await readdir(folder)).toEqual(before)
  const { routes } = localRoutes({
    cluster: { context: 'c', from: '', namespaces: [], services: [], nodes: [] },
    caddy: { file, admin, text: (await caddy.readFile()).text, adapted },
    unread: [],
  })
  const found = routes.map(({ site, port, line, obstacle }) => ({
    site: site.replace(/:\d+$/, ''),
    port,
    inFile: line > 0,
    obstacle: obstacle?.split(',')[0],
  }))
  const imported = 'it comes by an import'
  expect(found.toSorted((a, b) => a.port - b.port)).toEqual([
    { site: 'http://a.test', port: 6333, inFile: true, obstacle: undefined },
    { site: 'b.test', port: 8288, inFile: false, obstacle: imported },
    { site: 'c.test', port: 8289, inFile: false, obstacle: imported },
  ])
})
