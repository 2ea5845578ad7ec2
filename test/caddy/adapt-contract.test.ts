import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { adaptCaddyfile } from '../../simulated/adapt-caddyfile.ts'
import { caddyBinary } from './start-caddy.ts'

// The demo and the simulator run on this adapter: what it takes, it must take as Caddy does.
const example = readFileSync(new URL('../../examples/panda/Caddyfile', import.meta.url), 'utf8')
const texts = {
  "the example's Caddyfile": example,
  'the example with a route that leads to a device': example.replace(
    'localhost:8288',
    'inngest.tail7af24.ts.net:8288',
  ),
  "the simulator's file": `# by hand, größer 🦊\n{\n\tadmin localhost:2019\n}\n\nhttp://panda.sim:7001 { # 127.0.0.1:9001\n\treverse_proxy   127.0.0.1:9001\n}\n\nhttp://other.sim:8001 {\n  reverse_proxy localhost:9001\n}\nhttp://hand.sim:6999 {\n\trespond "by hand"\n}\n`,
  'servers whose ports have other lengths': `http://a.test:10000 {\n\trespond a\n}\nhttp://b.test:9000 {\n\trespond b\n}\nhttp://c.test:80 {\n\trespond c 404\n}\n`,
  'several sites on one port, one site of several addresses': `http://a.test:7001, http://b.test:7002 {\n\treverse_proxy localhost:1\n}\nhttp://c.test:7001 {\n\treverse_proxy localhost:2 localhost:3\n}\n`,
  'paths that are sorted by their length': `http://a.test:7001 {\n\treverse_proxy localhost:1\n\treverse_proxy /long/* localhost:3\n\treverse_proxy /l* localhost:2\n\trespond /health ok\n}\n`,
  'nested handles in two sites': `http://a.test:7001 {\n\thandle /a/* {\n\t\thandle /a/b/* {\n\t\t\trespond ab\n\t\t}\n\t\thandle {\n\t\t\trespond a\n\t\t}\n\t}\n\thandle {\n\t\treverse_proxy localhost:1\n\t}\n}\nhttp://b.test:7002 {\n\thandle {\n\t\trespond b\n\t}\n}\n`,
  'two certificates and a log on one port': `{\n\tauto_https off\n}\nhttps://a.test:7443 {\n\ttls a.crt a.key\n\tlog\n\trespond a\n}\nhttps://b.test:7443 {\n\ttls b.crt b.key\n\trespond b\n}\n`,
}

test.for(Object.entries(texts))(
  'the simulated adapter makes of %s what Caddy makes of it',
  async ([, text]) => {
    const folder = await mkdtemp(join(tmpdir(), 'onehop-adapt-'))
    try {
      const file = join(folder, 'Caddyfile')
      await writeFile(file, text)
      const env = { HOME: '/Users/joel' }
      const args = ['adapt', '--config', file, '--adapter', 'caddyfile']
      const { stdout } = await execa(caddyBinary, args, { env, timeout: 30_000 })
      expect(adaptCaddyfile(text, env)).toEqual(JSON.parse(stdout))
    } finally {
      await rm(folder, { recursive: true })
    }
  },
)
