import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readTailnet } from '../../../src/systems/tailscale.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehop-status-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function tailscale(status: unknown): string {
  const cli = join(folder, 'tailscale')
  writeFileSync(join(folder, 'status.json'), JSON.stringify(status))
  writeFileSync(cli, `#!/bin/sh\nexec cat ${folder}/status.json\n`, { mode: 0o755 })
  return cli
}
const up = {
  BackendState: 'Running',
  CurrentTailnet: { Name: 'joel@example.com', MagicDNSSuffix: 'tail7af24.ts.net' },
  Self: { DNSName: 'Panda.tail7af24.ts.net.', TailscaleIPs: ['100.64.0.1'] },
}

test('the tailnet, this machine and its other members; what is shared in or rented is none', async () => {
  const Peer = {
    a: { DNSName: 'clanker-001.tail7af24.ts.net.', TailscaleIPs: ['100.64.0.2'] },
    b: { DNSName: 'redis.tail7af24.ts.net.', TailscaleIPs: ['100.64.0.3'], Tags: ['tag:svc-redis'] },
    c: { DNSName: 'nas.tail99999.ts.net.', TailscaleIPs: ['100.64.0.4'] },
    d: { DNSName: 'se-sto-wg-001.mullvad.ts.net.', TailscaleIPs: ['100.64.0.5'] },
    e: { DNSName: '', TailscaleIPs: null },
  }
  expect(await readTailnet(tailscale({ ...up, Peer }))).toEqual({
    name: 'tail7af24.ts.net',
    self: { name: 'panda', addresses: ['100.64.0.1'], tags: [] },
    members: [
      { name: 'clanker-001', addresses: ['100.64.0.2'], tags: [] },
      { name: 'redis', addresses: ['100.64.0.3'], tags: ['tag:svc-redis'] },
    ],
  })
})

test.for([
  {
    title: 'one that is logged out',
    status: { BackendState: 'NeedsLogin', Self: up.Self },
    says: 'NeedsLogin',
  },
  { title: 'one without a tailnet', status: { ...up, CurrentTailnet: null }, says: 'it is on no tailnet' },
])('$title is unreachable, with its state', async ({ status, says }) => {
  await expect(readTailnet(tailscale(status))).rejects.toMatchObject({
    code: 'tailscaled-unreachable',
    message: expect.stringContaining(says),
  })
})
