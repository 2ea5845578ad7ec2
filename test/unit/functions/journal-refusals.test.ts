import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Disk, realDisk } from '../../../src/disk.ts'
import { rollbackHere } from '../../../src/functions/recover.ts'
import { createWorkflows } from '../../../src/functions/workflows.ts'
import { openJournal } from '../../../src/journal.ts'
import { parseMesh } from '../../../src/plan/mesh.ts'
import type { Setup, Work } from '../../../src/setup.ts'
import { localEngine } from '../../../src/steps/step.ts'

// A journal that cannot be kept or understood: whatever is asked for, no system is even looked at.
const credentials = { clientIdFile: 'id', clientSecretFile: 'secret' }
let folder: string
const touched: string[] = []

beforeEach(async () => {
  touched.length = 0
  folder = mkdtempSync(join(tmpdir(), 'onehop-refusals-'))
  // The service is moved, so that there is something to take back and to retire.
  const journal = await openJournal(join(folder, 'state'))
  await journal.begin('redis', { request: 'move', run: 'r', cluster: 'uid', tailnet: 'a.ts.net' })
  await journal.end('redis', 1, { state: 'moved' })
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Whatever is asked of a system is written down. */
const watched = new Proxy(
  {},
  {
    get: (_, system) =>
      new Proxy({}, { get: (_, call) => async () => void touched.push(`${String(system)}.${String(call)}`) }),
  },
) as Work['systems']

function setupOf(state: string, disk: Disk): Setup {
  const mesh = parseMesh(
    JSON.stringify({
      kubernetes: { context: 'admin@talos' },
      tailnet: 'a.ts.net',
      tailscale: { credentials },
      operator: { version: '1.102.4', credentials },
      caddy: { file: 'Caddyfile' },
      engine: { url: 'http://127.0.0.1:1' },
      services: {
        redis: { service: 'apps/redis', ports: [6379] },
        qdrant: { service: 'apps/q', ports: [1] },
      },
    }),
    join(folder, 'mesh.yaml'),
  )
  const journal = () => openJournal(join(folder, state), disk)
  const work = async () => ({ mesh, journal: await journal(), systems: watched })
  return { mesh: async () => mesh, journal, work }
}

const full: Disk = {
  ...realDisk,
  open: (path, flags, mode) =>
    flags === 'wx'
      ? Promise.reject(Object.assign(new Error(`ENOSPC: ${path}`), { code: 'ENOSPC' }))
      : realDisk.open(path, flags, mode),
}

const troubles = [
  { trouble: 'a file of a newer onehop', code: 'journal-newer', text: '{"version": 2}' },
  { trouble: 'a torn file', code: 'journal-invalid', text: '{"vers' },
  { trouble: 'a full disk', code: 'journal-unwritable', disk: full },
  { trouble: 'a folder that cannot be made', code: 'journal-unwritable', state: 'file/state' },
]
const service = 'redis'
const asked = [
  { id: 'migrate', name: 'mesh/migration.requested', data: {} },
  { id: 'expose-service', name: 'mesh/service.expose.requested', data: { service } },
  { id: 'rollback-service', name: 'mesh/service.rollback.requested', data: { service } },
  { id: 'rollback-all', name: 'mesh/rollback.requested', data: {} },
  { id: 'retire-service', name: 'mesh/service.retire.requested', data: { service } },
  { id: 'install-operator', name: 'mesh/operator.install.requested', data: {} },
  { id: 'remove-operator', name: 'mesh/operator.remove.requested', data: {} },
]

// All begin by the same step, and that one is patient with a disk: once is enough for those.
const cases = asked.flatMap((each, index) =>
  troubles.filter(({ text }) => text || index === 0).map((trouble) => ({ ...trouble, ...each })),
)

test.each(cases)(
  '$id is refused before its first look at $trouble',
  async ({ id, name, data, code, text, disk = realDisk, state = 'state' }) => {
    writeFileSync(join(folder, 'file'), '')
    if (text) writeFileSync(join(folder, 'state/services/qdrant.json'), text)
    const workflow = createWorkflows(setupOf(state, disk), async () => undefined).find(
      (each) => each.id === id,
    )
    const running = workflow?.run({ event: { id: 'asked', name, data }, runId: 'run', step: localEngine })
    await expect(running).rejects.toThrow(`[${code}]`)
    expect(touched).toEqual([])
    // Who follows the request is told, where that can be written at all.
    expect(readdirSync(join(folder, 'state/requests'))).toEqual(text ? ['asked.json'] : [])
  },
)

test.each(troubles)(
  'and so is a rollback on the command line',
  async ({ code, text, disk = realDisk, state = 'state' }) => {
    writeFileSync(join(folder, 'file'), '')
    if (text) writeFileSync(join(folder, 'state/services/qdrant.json'), text)
    const outcome = rollbackHere(setupOf(state, disk), { services: [service] })
    if (text) expect(await outcome).toMatchObject([{ state: 'refused', failure: { code } }])
    else await expect(outcome).rejects.toMatchObject({ code })
    expect(touched).toEqual([])
  },
)
