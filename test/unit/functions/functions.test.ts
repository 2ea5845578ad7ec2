import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InngestTestEngine } from '@inngest/test'
import { expect, onTestFinished, test } from 'vitest'
import { createClient } from '../../../inngest.config.ts'
import { createFunctions } from '../../../src/functions/functions.ts'
import { createSetup } from '../../../src/setup.ts'

// @inngest/test cannot run the workflows themselves: with SDK 4.24 a step that throws ends the run before a catch, and
// parallel steps run two or three times. It can show what a function does with input that it refuses.
test.for([
  {
    id: 'expose-service',
    name: 'mesh/service.expose.requested',
    data: { servise: 'redis' },
    says: 'servise',
  },
  { id: 'rollback-service', name: 'mesh/service.rollback.requested', data: {}, says: 'service' },
  { id: 'migrate', name: 'mesh/migration.requested', data: { services: [] }, says: 'services' },
])('$id refuses a bad event as a coded error and remembers that it did', async ({ id, name, data, says }) => {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-functions-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const meshFile = join(folder, 'mesh.yaml')
  writeFileSync(meshFile, mesh(join(folder, 'state')))
  const all = createFunctions(
    createClient({ url: 'http://localhost:1', signingKey: '00', eventKey: '00' }),
    createSetup(meshFile),
    { cron: '*/15 * * * *', repair: false, known: [] },
  )
  const found = all.find((each) => each.id() === id)
  if (!found) throw new Error(`no function ${id}`)
  const engine = new InngestTestEngine({ function: found, events: [{ id: 'request-1', name, data }] })
  const { error } = await engine.execute()
  expect(error).toMatchObject({ message: expect.stringMatching(new RegExp(`${says}.*\\[event-invalid\\]`)) })
  expect(readdirSync(join(folder, 'state', 'requests'))).toEqual(['request-1.json'])
})

const mesh = (state: string) => `
kubernetes: { context: none }
tailnet: tail7af24.ts.net
tailscale: { credentials: { clientIdFile: id, clientSecretFile: secret } }
operator: { version: 1.102.4, credentials: { clientIdFile: id, clientSecretFile: secret } }
caddy: { file: Caddyfile }
engine: { url: http://localhost:1 }
state: ${state}
services: { redis: { service: joelclaw/redis, ports: [6379] } }
`
