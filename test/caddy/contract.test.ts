import { writeFile } from 'node:fs/promises'
import { caddyContract } from '../contract/caddy.ts'
import { startCaddy } from './start-caddy.ts'

// The simulation's Caddy passes the same ones (test/unit/contract/caddy.test.ts).
caddyContract(async (write) => {
  const started = await startCaddy(write)
  return { ...started, edit: (text) => writeFile(started.file, text) }
})
