import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { onehop, read, world } from './panda.ts'

const config = join(world.panda.home, '.config/onehop')
const secrets = [
  'onehop-client-secret',
  'operator-client-secret',
  'operator-client-id',
  'inngest-signing-key',
].map((name) => read(join(config, name)).trim())

test('no secret is in events, the engine, logs, journal, process arguments, the Helm release or any output', async () => {
  const outputs = [
    await onehop('operator', 'install'),
    await onehop('plan'),
    await onehop('expose', 'typesense'),
    await onehop('status'),
  ]
  outputs.push(await onehop('rollback', 'typesense', '--local'))
  const said = outputs.map(({ stdout, stderr }) => stdout + stderr)

  const planted = join(world.folder, 'logs', 'planted.log')
  writeFileSync(planted, `raw ${secrets[0]} and ${Buffer.from(secrets[1] ?? '').toString('base64')}`)
  expect(leaks(await everything(said))).toHaveLength(2)
  rmSync(planted)

  expect(leaks(await everything(said))).toEqual([])
})

/** Every place by name, with all that is in it. */
async function everything(said: string[]): Promise<Record<string, string>> {
  const places: Record<string, string> = Object.fromEntries(
    said.map((text, index) => [`output ${index}`, text]),
  )
  for (const folder of ['logs', 'volumes', 'panda/.local/state'].map((each) => join(world.folder, each)))
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile())
        places[join(entry.parentPath, entry.name)] = readFileSync(
          join(entry.parentPath, entry.name),
          'latin1',
        )
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    places[`arguments of ${pid}`] = argumentsOf(pid)
  const releases = JSON.parse(
    await world.kubectl([
      'get',
      'secrets',
      '-A',
      '--field-selector',
      'type=helm.sh/release.v1',
      '-o',
      'json',
    ]),
  )
  for (const { metadata, data } of releases.items) {
    const packed = Buffer.from(Buffer.from(data.release, 'base64').toString(), 'base64')
    places[`Helm release ${metadata.name}`] = gunzipSync(packed).toString()
  }
  expect(Object.keys(places).filter((name) => name.startsWith('Helm release')).length).toBeGreaterThan(0)
  return places
}

function argumentsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return '' // it has ended in between
  }
}

function leaks(places: Record<string, string>): string[] {
  const needles = secrets.flatMap((secret) => [
    secret,
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ])
  return Object.entries(places).flatMap(([name, text]) =>
    needles.filter((needle) => text.includes(needle)).map((needle) => `${name}: ${needle.slice(0, 6)}...`),
  )
}
